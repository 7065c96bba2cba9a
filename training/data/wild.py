"""Annotated faces of web photographs (ExpW): `expw/faces.csv` and `expw/images/`.

A vision-language model annotated most of the faces twice, independently. The emotions that the
publishers of ExpW assigned are often incorrect and are not used. In the split `val`, the two
annotations of a face agree; this split is used for validation only.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.vision.types import Box
from training.data.split import DataError
from training.ferplus_labels import LABELS

FOLDER = "expw"
TRAIN, VALIDATION = SPLITS = ("train", "val")
UNCLEAR = "unclear"
# The probability of the annotated label, by certainty. In the training split, two uncertain
# annotations agree on 77 % of the faces. Two independent annotations with an accuracy of 88 % would
# agree as often (0.88² = 0.77). If one of them is certain, both agree on 96 %.
BELIEF = {True: 0.97, False: 0.86}


@dataclass(frozen=True, slots=True)
class Reading:
    """One annotation of a face: one of LABELS or UNCLEAR, and whether the annotator was certain."""

    label: str
    sure: bool


@dataclass(frozen=True, slots=True)
class WildFace:
    """A face with its box. `readings` has two annotations, or none if the face was not
    annotated."""

    path: Path
    box: Box
    readings: tuple[Reading, ...]

    @property
    def agreed(self) -> str | None:
        """The label of both annotations, or None if they differ or are unclear."""
        labels = {reading.label for reading in self.readings}
        return labels.pop() if len(labels) == 1 and UNCLEAR not in labels else None

    @property
    def sure(self) -> bool:
        """Whether both annotations are certain."""
        return bool(self.readings) and all(reading.sure for reading in self.readings)


def read_wild(data: Path, split: str) -> list[WildFace]:
    """Return the faces of a split, one of SPLITS. `data` is the folder with all data sets.

    If an image has a face of the validation split, none of its faces are training data. Raises
    DataError if the table is missing or has an invalid row.
    """
    table = data / FOLDER / "faces.csv"
    try:
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        excluded = set()
        if split == TRAIN:
            excluded = {row["image"] for row in rows if row["split"] == VALIDATION}
        return [
            _face(table.parent, row)
            for row in rows
            if row["split"] == split and row["image"] not in excluded
        ]
    except OSError as error:
        raise DataError(f"no {table}") from error
    except (KeyError, ValueError) as error:
        raise DataError(f"{table}: {error}") from error


def by_image(faces: Iterable[WildFace]) -> dict[Path, list[WildFace]]:
    """Group faces by image. Images and faces keep their order."""
    groups: dict[Path, list[WildFace]] = {}
    for face in faces:
        groups.setdefault(face.path, []).append(face)
    return groups


def _face(folder: Path, row: dict[str, str]) -> WildFace:
    readings = []
    for number in ("1", "2"):
        label = row["reader" + number]
        if label and label not in (*LABELS, UNCLEAR):
            raise ValueError(f"{row['image']}: {label!r} is not an emotion")
        if label:
            readings.append(Reading(label, row["sure" + number] == "1"))
    box = Box(*(float(row[name]) for name in ("x1", "y1", "x2", "y2")))
    return WildFace(folder / row["image"], box, tuple(readings))


def target(readings: Sequence[Reading]) -> NDArray[np.float32]:
    """Return a soft label (8,) over LABELS: the mean over the annotations with an emotion.

    An annotation gives its label the probability BELIEF, and the other labels equal shares of the
    rest. The result is all zeros if no annotation has an emotion.
    """
    named = [reading for reading in readings if reading.label != UNCLEAR]
    rows = np.zeros((max(1, len(named)), len(LABELS)), dtype=np.float32)
    for row, reading in zip(rows, named, strict=False):
        belief = BELIEF[reading.sure]
        row[:] = (1 - belief) / (len(LABELS) - 1)
        row[LABELS.index(reading.label)] = belief
    return np.asarray(rows.mean(axis=0), dtype=np.float32)
