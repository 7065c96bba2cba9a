"""Systems side by side: what requests can name, asked the same pictures by turns."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from app.vision.card import SINGLE_SHOT
from app.vision.engine import Engine
from app.vision.types import Analysis, DetectionOptions
from evaluation.boxes import BoxScores, score_boxes
from evaluation.expressions import Shot
from evaluation.field import MAX_PIXELS
from testbed.boxes import tally
from training.data.photos import MarkedFace, Photograph

CLASSIFIER = "custom_net_8"
DETECTORS = ("haar", "yunet", "single_shot")
EVERYTHING_PX = 10.0  # where faces of any size are asked for


def served_engine(models_dir: Path) -> Engine:
    """The service's own, with no limits that a picture of research meets."""
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
    """What a request names; `any_size` asks for faces from EVERYTHING_PX on instead of 5 %."""

    name: str
    options: tuple[tuple[str, str], ...]
    any_size: bool = False

    def analyse(self, engine: Engine, data: bytes) -> Analysis:
        wanted = (
            DetectionOptions(min_face_px=EVERYTHING_PX) if self.any_size else DetectionOptions()
        )
        options: dict[str, Any] = dict(self.options)
        return engine.analyse(data, file_name="picture", threshold=0.0, wanted=wanted, **options)

    def __str__(self) -> str:
        return f"{self.name}, any size" if self.any_size else self.name


def systems(detectors: Iterable[str]) -> list[System]:
    """Each detector with the classifier behind it, then the network alone; for the usual smallest
    face and for any. The first is what others are compared with."""
    pairs = [
        System(f"{name} + {CLASSIFIER}", (("detector", name), ("model", CLASSIFIER)))
        for name in detectors
    ]
    alone = System("single_shot alone", (("pipeline", SINGLE_SHOT),))
    any_size = [System(each.name, each.options, any_size=True) for each in (*pairs, alone)]
    return [*pairs, alone, *any_size]


def shoot(engine: Engine, system: System, data: bytes) -> Shot:
    start = time.perf_counter()
    analysis = system.analyse(engine, data)
    return Shot(analysis, 1000 * (time.perf_counter() - start))


def shots(
    engine: Engine, asked: Sequence[System], pictures: Iterable[bytes]
) -> dict[System, list[Shot]]:
    """Every system on every picture, by turns."""
    made: dict[System, list[Shot]] = {system: [] for system in asked}
    for data in pictures:
        for system in asked:
            made[system].append(shoot(engine, system, data))
    return made


Counts = Callable[[MarkedFace, float], bool]


def _at_least(pixels: float, share: float, condition: str | None) -> Counts:
    """Faces of so many pixels and of that share of the longer side; `condition` "bare" leaves out
    masked ones."""

    def counts(face: MarkedFace, longer_side: float) -> bool:
        side = face.box.longer_side
        bare = condition is None or face.condition in ("", condition)
        return face.sure and bare and side >= pixels and side >= share * longer_side

    return counts


FACES: dict[str, tuple[tuple[str, ...], Counts]] = {
    "natural + crowds, from 20 px": (("natural", "crowds"), _at_least(20, 0, None)),
    "crowds, bare, from 5 %": (("crowds",), _at_least(0, 0.05, "bare")),
    "crowds, bare, from 24 px": (("crowds",), _at_least(24, 0, "bare")),
    "crowds, all": (("crowds",), _at_least(0, 0, None)),
    "natural, from 5 %": (("natural",), _at_least(20, 0.05, None)),
}


def found_faces(
    found: Sequence[Shot], photographs: Sequence[Photograph], what: str, min_iou: float
) -> BoxScores:
    """Figures for one row of FACES; other faces count neither for nor against."""
    collections, counts = FACES[what]
    rollups = []
    for shot, photograph in zip(found, photographs, strict=True):
        if photograph.path.parts[-2] in collections:
            longer_side = float(max(shot.analysis.width, shot.analysis.height))
            rollups.append(
                tally(
                    shot.detections,
                    photograph.faces,
                    min_iou=min_iou,
                    counts=partial(_counted, counts=counts, longer_side=longer_side),
                )
            )
    return score_boxes(rollups)


def _counted(face: MarkedFace, *, counts: Counts, longer_side: float) -> bool:
    return counts(face, longer_side)


@dataclass(frozen=True)
class Cost:
    """Median milliseconds of a picture, whole and without reading the file."""

    whole: float
    without_reading: float


def costs(found: dict[System, list[Shot]]) -> dict[System, Cost]:
    return {
        system: Cost(
            float(np.median([each.milliseconds for each in its])),
            float(
                np.median([each.milliseconds - each.analysis.timings_ms["decode"] for each in its])
            ),
        )
        for system, its in found.items()
    }
