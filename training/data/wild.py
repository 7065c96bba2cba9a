"""Faces of web photographs that two readers labelled: `expw/faces.csv` and `expw/images/`.

The labels are those of a vision-language model that looked at each face twice, independently of
each other. The collection's own label is wrong too often to be used. The faces of the `val` split
carry two agreeing labels and serve validation only. Nothing on their images is trained on.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.vision.types import Box
from training.data.split import DataError
from training.votes import LABELS

FOLDER = "expw"
SPLITS = ("train", "val")
UNCLEAR = "unclear"
# How far a reading is believed. Two readings that are not sure agree in 77 % of the training faces,
# as independent readings that are right in 88 % do; where one is sure, both agree in 96 %.
BELIEF = {True: 0.97, False: 0.86}


@dataclass(frozen=True, slots=True)
class Reading:
    """One reader's label for a face: one of LABELS or UNCLEAR, and whether the reader was sure."""

    label: str
    sure: bool


@dataclass(frozen=True, slots=True)
class WildFace:
    """A marked face. `readings` holds two labels, or none where nobody looked at the face."""

    path: Path
    box: Box
    readings: tuple[Reading, ...]

    @property
    def agreed(self) -> str | None:
        """The label that both readers gave, None where they differ or cannot tell."""
        labels = {reading.label for reading in self.readings}
        return labels.pop() if len(labels) == 1 and UNCLEAR not in labels else None

    @property
    def sure(self) -> bool:
        """Whether both readers were sure."""
        return bool(self.readings) and all(reading.sure for reading in self.readings)


def read_wild(data: Path, split: str) -> list[WildFace]:
    """The marked faces of a split, one of SPLITS, from the folder of all data.

    Raises DataError when the table is missing or a row of it is wrong.
    """
    table = data / FOLDER / "faces.csv"
    try:
        with table.open(newline="") as file:
            return [
                _face(table.parent, row) for row in csv.DictReader(file) if row["split"] == split
            ]
    except OSError as error:
        raise DataError(f"no {table}") from error
    except (KeyError, ValueError) as error:
        raise DataError(f"{table}: {error}") from error


def _face(folder: Path, row: dict[str, str]) -> WildFace:
    readings = []
    for number in ("1", "2"):
        label = row["reader" + number]
        if label and label not in (*LABELS, UNCLEAR):
            raise ValueError(f"{row['image']}: {label!r} is no emotion")
        if label:
            readings.append(Reading(label, row["sure" + number] == "1"))
    box = Box(*(float(row[name]) for name in ("x1", "y1", "x2", "y2")))
    return WildFace(folder / row["image"], box, tuple(readings))


def target(readings: Sequence[Reading]) -> NDArray[np.float32]:
    """A distribution (8,) over LABELS: the mean of the readings, each believed as far as BELIEF
    says and the rest spread evenly. All zeros where no reading names an emotion."""
    named = [reading for reading in readings if reading.label != UNCLEAR]
    rows = np.zeros((max(1, len(named)), len(LABELS)), dtype=np.float32)
    for row, reading in zip(rows, named, strict=False):
        belief = BELIEF[reading.sure]
        row[:] = (1 - belief) / (len(LABELS) - 1)
        row[LABELS.index(reading.label)] = belief
    return np.asarray(rows.mean(axis=0), dtype=np.float32)
