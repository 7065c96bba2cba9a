"""Scores of one system on labelled faces of web photographs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.vision.types import Box, Face
from evaluation.expressions import SystemResult
from evaluation.field import MATCH_IOU, MIN_FACES
from evaluation.metrics import expected_calibration_error
from testbed.boxes import iou
from training.data.split import DataError
from training.data.wild import WildFace
from training.ferplus_labels import LABELS


@dataclass(frozen=True)
class ScoredFace:
    """A labelled face with the result of a system.

    `label` is an index into LABELS. `certain` says whether both readings of the face are certain.
    `probabilities` (8,) belong to the box that detects the face; None for a missed face.
    """

    label: int
    certain: bool
    probabilities: NDArray[np.float64] | None


@dataclass(frozen=True)
class WildScores:
    """The results of one system.

    `faces` has the faces with a label that its model knows. `milliseconds` is the median time for a
    photograph.
    """

    faces: tuple[ScoredFace, ...]
    milliseconds: float

    @property
    def detected(self) -> list[ScoredFace]:
        return [each for each in self.faces if each.probabilities is not None]

    @property
    def detection_recall(self) -> float:
        return len(self.detected) / len(self.faces)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The labels (n,) of the detected faces."""
        return np.array([each.label for each in self.detected], dtype=np.int64)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """The probabilities (n, 8) of the detected faces."""
        rows = [each.probabilities for each in self.detected if each.probabilities is not None]
        return np.array(rows, dtype=float).reshape(-1, len(LABELS))

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Whether each detected face (n,) is classified correctly."""
        correct: NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.labels
        return correct

    @property
    def certain_hits(self) -> NDArray[np.bool_]:
        """`hits` of the faces (m,) for which both readings are certain."""
        certain = np.array([each.certain for each in self.detected], dtype=bool)
        return np.asarray(self.hits[certain], dtype=bool)

    def hits_of(self, label: int) -> NDArray[np.bool_]:
        """`hits` of the faces (m,) with this label."""
        return np.asarray(self.hits[self.labels == label], dtype=bool)

    def count(self, label: int) -> int:
        """The number of faces with this label, missed ones included."""
        return sum(each.label == label for each in self.faces)

    def precision(self, label: int) -> float:
        """The precision of an emotion over the detected faces; NaN if it is never predicted."""
        predicted = self.probabilities.argmax(axis=1) == label
        return float(self.hits[predicted].mean()) if predicted.any() else float("nan")

    @property
    def macro_recall(self) -> float:
        """The mean recall over the emotions with at least MIN_FACES faces, of detected faces."""
        recalls = [
            self.hits_of(label).mean()
            for label in range(len(LABELS))
            if self.count(label) >= MIN_FACES and len(self.hits_of(label))
        ]
        return float(np.mean(recalls)) if recalls else float("nan")

    @property
    def end_to_end_accuracy(self) -> float:
        """The share of all faces that are detected and classified correctly."""
        return float(self.hits.sum() / len(self.faces))

    @property
    def calibration_error(self) -> float:
        return expected_calibration_error(self.probabilities.max(axis=1), self.hits)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts (8, 9) by ground truth and prediction; the last column counts missed faces."""
        matrix = np.zeros((len(LABELS), len(LABELS) + 1), dtype=np.int64)
        for each in self.faces:
            if each.probabilities is None:
                predicted = len(LABELS)
            else:
                predicted = int(np.argmax(each.probabilities))
            matrix[each.label, predicted] += 1
        return matrix


def score_faces(found: Sequence[SystemResult], faces: Sequence[Sequence[WildFace]]) -> WildScores:
    """Compare the results of a system with the labelled faces of the same photographs.

    Faces with a label that the model does not know are left out. Raises DataError if no face
    remains.
    """
    known = _known_labels(found)
    scored = [
        ScoredFace(
            LABELS.index(face.agreed), face.sure, _probabilities(result.analysis.faces, face.box)
        )
        for result, of_photograph in zip(found, faces, strict=True)
        for face in of_photograph
        if face.agreed in known
    ]
    if not scored:
        raise DataError("no face has a label that the model knows")
    return WildScores(tuple(scored), float(np.median([result.milliseconds for result in found])))


def _probabilities(boxes: Sequence[Face], box: Box) -> NDArray[np.float64] | None:
    """The probabilities (8,) of the box that overlaps `box` most; None below MATCH_IOU."""
    overlaps = [iou(each.box, box) for each in boxes]
    if max(overlaps, default=0.0) < MATCH_IOU:
        return None
    best = boxes[int(np.argmax(overlaps))]
    return np.array([best.emotions.get(label, 0.0) for label in LABELS])


def _known_labels(found: Sequence[SystemResult]) -> set[str]:
    """The labels of the model, read from its first face; all LABELS if it returned no face."""
    faces = (face for result in found for face in result.analysis.faces)
    first = next(faces, None)
    return set(first.emotions) if first else set(LABELS)
