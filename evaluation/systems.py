"""Run several systems on the same images in turn. A system is the options of a request."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from app.vision.card import DEFAULT_CLASSIFIER, SINGLE_SHOT
from app.vision.engine import Engine
from app.vision.request import AnalysisOptions, AnalysisRequest, ImageData
from app.vision.types import Analysis, DetectionOptions
from evaluation.boxes import BoxScores, score_boxes
from evaluation.expressions import SystemResult
from evaluation.field import MAX_PIXELS
from testbed.boxes import match_faces
from training.data.photos import AnnotatedFace, Photograph

CLASSIFIER = DEFAULT_CLASSIFIER
DETECTORS = ("haar", "yunet", "single_shot")
ANY_SIZE_PX = 10.0  # pixels: the smallest face of systems with `any_size`


def service_engine(models_dir: Path) -> Engine:
    """The engine of the service with limits that no image of a data set exceeds.

    OpenCV gets one thread, as in a worker.
    """
    cv2.setNumThreads(1)
    return Engine(
        models_dir,
        model=CLASSIFIER,
        detector=DETECTORS[0],
        max_image_bytes=10**9,
        max_pixels=MAX_PIXELS,
        max_faces=10**6,
    )


@dataclass(frozen=True, slots=True)
class System:
    """The options of a request, with a name for the tables.

    With `any_size`, the smallest face has ANY_SIZE_PX pixels instead of 5 % of the longer side.
    """

    name: str
    options: AnalysisOptions = AnalysisOptions()
    any_size: bool = False

    def analyse(self, engine: Engine, data: bytes) -> Analysis:
        options = self.options
        if self.any_size:
            options = replace(options, detection=DetectionOptions(min_face_px=ANY_SIZE_PX))
        return engine.analyse(AnalysisRequest(ImageData(data, "image"), options))

    def __str__(self) -> str:
        return f"{self.name}, any size" if self.any_size else self.name


def single_shot_systems(networks: Iterable[str] = (SINGLE_SHOT,)) -> list[System]:
    """The systems of each single-shot network alone."""
    return [
        System(f"{name} alone", AnalysisOptions(pipeline=SINGLE_SHOT, model=name))
        for name in networks
    ]


def systems(detectors: Iterable[str], networks: Iterable[str] = (SINGLE_SHOT,)) -> list[System]:
    """Each detector with the classifier and each single-shot network alone; then the same systems
    for faces of any size. The first system is the reference."""
    pairs = [
        System(f"{name} + {CLASSIFIER}", AnalysisOptions(detector=name, model=CLASSIFIER))
        for name in detectors
    ]
    defaults = [*pairs, *single_shot_systems(networks)]
    return [*defaults, *(replace(each, any_size=True) for each in defaults)]


def run_system(engine: Engine, system: System, data: bytes) -> SystemResult:
    """Analyse one image and measure the time."""
    start = time.perf_counter()
    analysis = system.analyse(engine, data)
    return SystemResult(analysis, 1000 * (time.perf_counter() - start))


def run_systems(
    engine: Engine, chosen: Sequence[System], images: Iterable[bytes]
) -> dict[System, list[SystemResult]]:
    """Run every system on every image. The systems take turns."""
    by_system: dict[System, list[SystemResult]] = {system: [] for system in chosen}
    for data in images:
        for system in chosen:
            by_system[system].append(run_system(engine, system, data))
    return by_system


Counts = Callable[[AnnotatedFace, float], bool]


def _at_least(pixels: float, share: float, condition: str | None) -> Counts:
    """A predicate for faces of at least `pixels` pixels and at least `share` of the longer side.

    The `condition` "bare" leaves out masked faces.
    """

    def counts(face: AnnotatedFace, longer_side: float) -> bool:
        side = face.box.longer_side
        bare = condition is None or face.condition in ("", condition)
        return face.sure and bare and side >= pixels and side >= share * longer_side

    return counts


FACE_KINDS: dict[str, tuple[tuple[str, ...], Counts]] = {
    "natural + crowds, from 20 px": (("natural", "crowds"), _at_least(20, 0, None)),
    "crowds, bare, from 5 %": (("crowds",), _at_least(0, 0.05, "bare")),
    "crowds, bare, from 24 px": (("crowds",), _at_least(24, 0, "bare")),
    "crowds, all": (("crowds",), _at_least(0, 0, None)),
    "natural, from 5 %": (("natural",), _at_least(20, 0.05, None)),
}


def score_kind(
    found: Sequence[SystemResult], photographs: Sequence[Photograph], kind: str, min_iou: float
) -> BoxScores:
    """The scores for one kind of faces, a key of FACE_KINDS. Other faces are ignored."""
    collections, counts = FACE_KINDS[kind]
    matches = []
    for result, photograph in zip(found, photographs, strict=True):
        if photograph.path.parts[-2] in collections:
            longer_side = float(max(result.analysis.width, result.analysis.height))
            matches.append(
                match_faces(
                    result.detections,
                    photograph.faces,
                    min_iou=min_iou,
                    counts=partial(_counted, counts=counts, longer_side=longer_side),
                )
            )
    return score_boxes(matches)


def _counted(face: AnnotatedFace, *, counts: Counts, longer_side: float) -> bool:
    return counts(face, longer_side)


@dataclass(frozen=True)
class Cost:
    """Median milliseconds for an image, with and without reading the file."""

    whole: float
    without_reading: float


def costs(found: dict[System, list[SystemResult]]) -> dict[System, Cost]:
    """The cost of each system."""
    return {
        system: Cost(
            float(np.median([each.milliseconds for each in of_system])),
            float(
                np.median(
                    [each.milliseconds - each.analysis.timings_ms["decode"] for each in of_system]
                )
            ),
        )
        for system, of_system in found.items()
    }
