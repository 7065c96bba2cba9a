"""Detectors on photographs with labelled faces, and in front of a classifier on portraits."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from app.errors import ModelUnavailable
from app.vision.classifier import Classifier
from app.vision.detectors import DETECTORS, Detector, default_min_face_px
from app.vision.detectors.whole_image import WholeImageDetector
from app.vision.image import ImageFile
from app.vision.tiles import searched_side
from app.vision.types import Detection
from evaluation.boxes import BoxScores, score_boxes
from evaluation.field import (
    MAX_PIXELS,
    accuracy_by_expression,
    classified_correctly,
    count_expressions,
    main_boxes,
    read_rasters,
    service_scale,
)
from testbed.boxes import match_faces
from training.data.photos import AnnotatedFace, Photograph, Portrait

MIN_PIXELS = 20
MIN_SHARE = 0.05  # of the longer side
BARE, MASKED = "bare", "masked"


@dataclass(frozen=True, slots=True)
class Setting:
    """A detector with the smallest face that it searches for.

    `min_face_share` is a share of the longer side, or of twice the shorter side where that is
    less (see `default_min_face_px`).
    """

    detector: str
    min_face_share: float

    def __str__(self) -> str:
        return f"{self.detector}, ≥ {self.min_face_share:.0%}"

    @property
    def is_default(self) -> bool:
        """Whether a request without `min_face_px` gets this setting."""
        return self.min_face_share == DETECTORS[self.detector].min_face_share


@dataclass(frozen=True)
class Search:
    """The detections of one setting on one photograph. The time includes reading the file."""

    photograph: Photograph
    longer_side: int
    detections: list[Detection]
    milliseconds: float

    def counts(
        self, face: AnnotatedFace, *, condition: str | None, shares: tuple[float, float] | None
    ) -> bool:
        """Whether a face must be found, for figures of a condition and of a range of sizes."""
        side = face.box.longer_side
        if not face.sure or side < MIN_PIXELS or side < MIN_SHARE * self.longer_side:
            return False
        is_masked = face.condition not in ("", BARE)
        if condition is not None and is_masked != (condition == MASKED):
            return False
        return shares is None or shares[0] <= side / self.longer_side < shares[1]


def installed_detectors(models_dir: Path) -> list[str]:
    """The names of the detectors that search for faces and whose weights exist.

    Prints the reason for each detector that is left out.
    """
    names = []
    for name, detector_class in DETECTORS.items():
        if detector_class is WholeImageDetector:
            continue
        try:
            detector_class.load(models_dir)
            names.append(name)
        except ModelUnavailable as error:
            print(f"left out: {error}")
    return names


def search(
    photographs: Sequence[Photograph], settings: Sequence[Setting], models_dir: Path
) -> dict[Setting, list[Search]]:
    """Run every setting on every photograph. The settings take turns."""
    detectors: dict[str, Detector] = {
        each.detector: DETECTORS[each.detector].load(models_dir) for each in settings
    }
    searches: dict[Setting, list[Search]] = {each: [] for each in settings}
    for photograph in photographs:
        data = photograph.path.read_bytes()
        for setting in settings:
            detector = detectors[setting.detector]
            start = time.perf_counter()
            file = ImageFile(data, max_pixels=MAX_PIXELS)
            width, height = file.width, file.height
            min_face_px = default_min_face_px(setting.min_face_share, width, height)
            scale = min(1.0, detector.scale_for(searched_side(width, height), min_face_px))
            raster = file.read(scale=scale, color=detector.needs_color)
            detections = detector.detect(raster, min_face_px)
            milliseconds = 1000 * (time.perf_counter() - start)
            result = Search(photograph, file.longer_side, detections, milliseconds)
            searches[setting].append(result)
    return searches


def scores(
    searches: Sequence[Search],
    *,
    min_iou: float,
    condition: str | None = None,
    shares: tuple[float, float] | None = None,
) -> BoxScores:
    """Figures over photographs for faces of a condition and of a range of sizes.

    `condition` is BARE, MASKED or None for all faces. `shares` is a range of the longer side.
    Other faces are ignored: they are neither missed nor false.
    """
    return score_boxes(
        [
            match_faces(
                each.detections,
                each.photograph.faces,
                min_iou=min_iou,
                counts=partial(each.counts, condition=condition, shares=shares),
            )
            for each in searches
        ]
    )


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """A detector and a classifier on portraits.

    `portraits` has the number of portraits by expression. `detection_recall` is the share of
    portraits whose main face is detected, `accuracy` the share whose main face is detected and
    classified correctly. `by_expression` has the accuracies by expression.
    """

    portraits: dict[str, int]
    detection_recall: float
    accuracy: float
    by_expression: dict[str, float]


def end_to_end(
    detectors: Sequence[str], classifier: Classifier, portraits: list[Portrait], models_dir: Path
) -> dict[str, EndToEnd]:
    """Run every detector with the classifier, with the crop that the service uses."""
    rasters = read_rasters(portraits)
    results = {}
    for name in detectors:
        boxes = main_boxes(portraits, rasters, name, models_dir)
        scale = service_scale(classifier.card, name)
        hits = classified_correctly(classifier, portraits, rasters, boxes, scale)
        results[name] = EndToEnd(
            portraits=count_expressions(portraits),
            detection_recall=float(np.mean([box is not None for box in boxes])),
            accuracy=float(hits.mean()),
            by_expression=accuracy_by_expression(hits, portraits, classifier.card.labels),
        )
    return results
