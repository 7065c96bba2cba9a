"""FER+ in its two published files: fer2013.csv (pixels) and fer2013new.csv (votes).

Equal line numbers belong to the same image. Images that FER+ removed have no name in the second
file.
"""

import csv
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.vision.image import crop_face
from app.vision.types import Box
from training.data.split import DataError, Split, digest
from training.ferplus_labels import LABELS

PIXELS, VOTES = "fer2013.csv", "fer2013new.csv"
USAGE = {"train": "Training", "valid": "PublicTest", "test": "PrivateTest"}
SIDE = 48
_VOTE_NAMES = (*LABELS, "unknown", "NF")


def read(data: Path, split: str, *, size: int) -> Split:
    """Read the rows of `split`. Raises DataError, which names the file and the line."""
    rows = []
    for number, (pixels, votes) in enumerate(
        zip_longest(_lines(data / PIXELS), _lines(data / VOTES)), start=2
    ):
        if pixels is None or votes is None:
            raise DataError(f"{PIXELS} and {VOTES} differ in length after line {number - 1}")
        try:
            if votes["Usage"] != pixels["Usage"]:
                raise ValueError(f"Usage is {votes['Usage']!r} and {pixels['Usage']!r}")
            if votes["Usage"] != USAGE[split] or not votes["Image name"]:
                continue
            gray = _image(pixels["pixels"])
            counts = [int(votes[name]) for name in _VOTE_NAMES]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{PIXELS} or {VOTES}, line {number}: {error}") from error
        crop = crop_face(gray, Box(0, 0, SIDE, SIDE), size=size)
        rows.append((crop, counts, digest(gray)))
    if not rows:
        raise DataError(f"{PIXELS} has no rows with Usage {USAGE[split]!r}")
    return Split.of(rows)


def _image(text: str) -> NDArray[np.uint8]:
    return np.array(text.split(), dtype=np.uint8).reshape(SIDE, SIDE)


def _lines(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield from csv.DictReader(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table") from error
