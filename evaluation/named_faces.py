"""What a system made of labelled faces: which were found, and which were named right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.vision.types import Box, Face
from evaluation.expressions import Shot
from evaluation.field import MATCH_IOU
from evaluation.metrics import expected_calibration_error
from testbed.boxes import iou
from training.data.split import DataError
from training.data.wild import WildFace
from training.ferplus_labels import LABELS

FEWEST_FACES = 12  # of an emotion that counts in the macro share


@dataclass(frozen=True)
class Asked:
    """One face that a system was asked about: its label as an index into LABELS, whether both
    readers were sure, and the probabilities (8,) of the box that found it, None where none did."""

    label: int
    sure: bool
    answer: NDArray[np.float64] | None


@dataclass(frozen=True)
class Outcome:
    """What a system made of the faces that it was asked about, and its median milliseconds for a
    photograph."""

    asked: tuple[Asked, ...]
    milliseconds: float

    @property
    def found(self) -> list[Asked]:
        return [each for each in self.asked if each.answer is not None]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of the faces that were found (n,)."""
        return np.array([each.label for each in self.found], dtype=np.int64)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Of the faces that were found (n, 8)."""
        answers = [each.answer for each in self.found if each.answer is not None]
        return np.array(answers, dtype=float).reshape(-1, len(LABELS))

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Which of the faces that were found are named right (n,)."""
        right: NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.labels
        return right

    @property
    def sure_hits(self) -> NDArray[np.bool_]:
        """The same of the faces of which both readers were sure."""
        sure = np.array([each.sure for each in self.found], dtype=bool)
        return np.asarray(self.hits[sure], dtype=bool)

    def hits_of(self, label: int) -> NDArray[np.bool_]:
        """Which of the found faces that show this emotion are named right (m,)."""
        return np.asarray(self.hits[self.labels == label], dtype=bool)

    def faces(self, label: int) -> int:
        return sum(each.label == label for each in self.asked)

    def precision(self, label: int) -> float:
        """The share of the found faces with this answer that show it, NaN where there are none."""
        named = self.probabilities.argmax(axis=1) == label
        return float(self.hits[named].mean()) if named.any() else float("nan")

    @property
    def macro(self) -> float:
        """The mean share named right of those found, over emotions with FEWEST_FACES faces."""
        shares = [
            self.hits_of(label).mean()
            for label in range(len(LABELS))
            if self.faces(label) >= FEWEST_FACES and len(self.hits_of(label))
        ]
        return float(np.mean(shares)) if shares else float("nan")

    @property
    def end_to_end(self) -> float:
        return float(self.hits.sum() / len(self.asked))

    @property
    def calibration_error(self) -> float:
        return expected_calibration_error(self.probabilities.max(axis=1), self.hits)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts (8, 9) of truth by answer; the last column counts faces that were not found."""
        matrix = np.zeros((len(LABELS), len(LABELS) + 1), dtype=np.int64)
        for each in self.asked:
            answer = len(LABELS) if each.answer is None else int(each.answer.argmax())
            matrix[each.label, answer] += 1
        return matrix


def outcome(found: Sequence[Shot], faces: Sequence[Sequence[WildFace]]) -> Outcome:
    """What the photographs of one system say of their labelled faces, as many `found` as `faces`.

    Raises DataError where its model knows none of the labels.
    """
    asked = []
    for shot, its in zip(found, faces, strict=True):
        for face in its:
            label = LABELS.index(face.agreed or "")
            asked.append(Asked(label, face.sure, _answer(shot.analysis.faces, face.box)))
    known = _known(found)
    asked = [each for each in asked if LABELS[each.label] in known]
    if not asked:
        raise DataError("no face has a label that the model knows")
    return Outcome(tuple(asked), float(np.median([shot.milliseconds for shot in found])))


def _answer(boxes: Sequence[Face], box: Box) -> NDArray[np.float64] | None:
    """The probabilities (8,) of the box that overlaps `box` most, None where none does enough."""
    overlaps = [iou(each.box, box) for each in boxes]
    if max(overlaps, default=0.0) < MATCH_IOU:
        return None
    best = boxes[int(np.argmax(overlaps))]
    return np.array([best.emotions.get(label, 0.0) for label in LABELS])


def _known(found: Sequence[Shot]) -> set[str]:
    """The emotions of the model, of the first face that it named; all where it named none."""
    faces = (face for shot in found for face in shot.analysis.faces)
    first = next(faces, None)
    return set(first.emotions) if first else set(LABELS)
