"""Figures of detection and classification together, from the analyses of any pipeline.

Average precision by expression, confusion matrices, and end-to-end accuracy on portraits.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.vision.types import Analysis, Box, Detection
from evaluation.field import MATCH_IOU, MIN_FACES
from testbed.boxes import average_precision, iou, match_faces
from training.data.photos import PORTRAITS, AnnotatedFace, Portrait, read_photographs
from training.data.scenes import Sources, scene
from training.ferplus_labels import LABELS

MAP_IOU = 0.5
NO_FACE = "no face"  # a label of confusion matrices
SCENES, SCENE_SIDE = 600, 320


@dataclass(frozen=True)
class SystemResult:
    """The analysis of one image by one system. The time includes reading the file."""

    analysis: Analysis
    milliseconds: float

    @property
    def detections(self) -> list[Detection]:
        return [Detection(face.box, face.detection_score) for face in self.analysis.faces]

    def detections_of(self, emotion: str) -> list[Detection]:
        """Every face as a detection of `emotion`: the score is multiplied by the probability."""
        return [
            Detection(
                face.box,
                (1.0 if face.detection_score is None else face.detection_score)
                * face.emotions[emotion],
            )
            for face in self.analysis.faces
        ]


@dataclass(frozen=True)
class Truth:
    """The ground truth of one image: the box of each face with its label, one of LABELS.

    The label is None for a face whose expression is unknown.
    """

    faces: tuple[tuple[Box, str | None], ...]


@dataclass(frozen=True)
class Expressions:
    """Figures of one system.

    `average_precisions` and `counts` have the average precision and the number of faces of each
    emotion in the ground truth. `average_precision_of_faces` is over all faces. `confusion` has the
    shape (labels + 1, labels + 1) and counts all returned faces; its last row and column are "no
    face".
    """

    average_precisions: dict[str, float]
    counts: dict[str, int]
    average_precision_of_faces: float
    confusion: NDArray[np.int64]

    @property
    def mean_average_precision(self) -> float:
        """The mean over the emotions with at least MIN_FACES faces; NaN if there are none."""
        common = [
            value
            for label, value in self.average_precisions.items()
            if self.counts[label] >= MIN_FACES
        ]
        return float(np.mean(common)) if common else float("nan")


def expressions(
    found: Sequence[SystemResult], truths: Sequence[Truth], *, min_iou: float = MAP_IOU
) -> Expressions:
    """Figures of one system on images with ground truth. `min_iou` is the IoU of the AP."""
    labels = [label for truth in truths for _, label in truth.faces if label]
    counts = {label: labels.count(label) for label in LABELS if label in labels}
    precisions = {
        label: average_precision(
            [
                match_faces(result.detections_of(label), _required(truth, label), min_iou=min_iou)
                for result, truth in zip(found, truths, strict=True)
            ]
        )
        for label in counts
    }
    faces = average_precision(
        [
            match_faces(_scored(result), _required(truth, None), min_iou=min_iou)
            for result, truth in zip(found, truths, strict=True)
        ]
    )
    return Expressions(precisions, counts, faces, confusion(found, truths))


def _scored(result: SystemResult) -> list[Detection]:
    return [
        Detection(each.box, 1.0 if each.score is None else each.score) for each in result.detections
    ]


def _required(truth: Truth, label: str | None) -> list[AnnotatedFace]:
    """The faces with `label` (all faces if None), which must be detected.

    Faces with an unknown expression get sure=False, so they are ignored. A detection of any other
    face is an error.
    """
    return [
        AnnotatedFace(box, sure=label_of_face is not None)
        for box, label_of_face in truth.faces
        if label_of_face is None or label in (None, label_of_face)
    ]


def confusion(found: Sequence[SystemResult], truths: Sequence[Truth]) -> NDArray[np.int64]:
    """Counts (labels + 1, labels + 1) by ground truth and prediction, "no face" last.

    Each face of the ground truth is matched with the remaining box that overlaps it most. Boxes
    without a match count in the row "no face".
    """
    matrix = np.zeros((len(LABELS) + 1, len(LABELS) + 1), dtype=np.int64)
    for result, truth in zip(found, truths, strict=True):
        remaining = list(result.analysis.faces)
        for box, label in truth.faces:
            best = max(remaining, key=lambda face: iou(face.box, box), default=None)
            hit = best is not None and iou(best.box, box) >= MATCH_IOU
            if best is not None and hit:
                remaining.remove(best)
            if label:
                predicted = LABELS.index(best.dominant) if best is not None and hit else -1
                matrix[LABELS.index(label), predicted] += 1
        for face in remaining:
            matrix[-1, LABELS.index(face.dominant)] += 1
    return matrix


@dataclass(frozen=True)
class EndToEnd:
    """One system on portraits.

    `detection_recall` is the share of portraits whose main face is detected, `accuracy` the share
    whose main face is detected and classified correctly. `by_expression` has the accuracies by
    expression.
    """

    detection_recall: float
    accuracy: float
    by_expression: dict[str, float]


def end_to_end(found: Sequence[SystemResult], portraits: Sequence[Portrait]) -> EndToEnd:
    """Figures of one system on portraits."""
    hits, correct = [], []
    for result, portrait in zip(found, portraits, strict=True):
        best = max(
            result.analysis.faces, key=lambda face: iou(face.box, portrait.box), default=None
        )
        hit = best is not None and iou(best.box, portrait.box) >= MATCH_IOU
        hits.append(hit)
        correct.append(best is not None and hit and best.dominant == portrait.expression)
    expected = np.array([portrait.expression for portrait in portraits])
    return EndToEnd(
        detection_recall=float(np.mean(hits)),
        accuracy=float(np.mean(correct)),
        by_expression={
            label: float(np.array(correct)[expected == label].mean())
            for label in LABELS
            if (expected == label).any()
        },
    )


def portrait_truths(photos: Path, portraits: Sequence[Portrait]) -> list[Truth]:
    """The ground truth of portraits. Only the main face has a known expression."""
    faces = {each.path: each.faces for each in read_photographs(photos, PORTRAITS, split=None)}
    return [
        Truth(
            (
                (portrait.box, portrait.expression),
                *((face.box, None) for face in faces[portrait.path] if face.box != portrait.box),
            )
        )
        for portrait in portraits
    ]


def synthetic_scenes(sources: Sources) -> Iterable[tuple[bytes, Truth]]:
    """PNG files with faces of FER+ on photographs without faces, and their ground truth."""
    ferplus_only = Sources(((1.0, sources.empty),), sources.empty, sources.crops, sources.crops)
    for number in range(SCENES):
        composed = scene(ferplus_only, number, side=SCENE_SIDE, seed=0, mosaics=False)
        faces = tuple(
            (Box(*box), LABELS[int(target.argmax())] if sure and target.any() else None)
            for box, sure, target in zip(
                composed.boxes.tolist(), composed.sure, composed.targets, strict=True
            )
        )
        yield cv2.imencode(".png", composed.image)[1].tobytes(), Truth(faces)
