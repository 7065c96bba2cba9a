"""FER+ as its authors lay it out: faces and ten votes each (Barsoum et al., arXiv 1608.01041).

Knows no torch, so that evaluation can use it on a machine that only serves.
"""

import csv
import hashlib
import zipfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.vision.image import crop_face, decode, to_gray
from app.vision.types import Box

LABELS = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
)
_VOTE_COLUMNS = len(LABELS) + 2  # … and unknown, not-a-face
_FACE_PIXELS = 1_000_000


class FerPlusError(Exception):
    """The folder or zip is not a FER+ split; the message says what is missing."""


@dataclass(frozen=True)
class Split:
    """`crops` (n, size, size) uint8; `votes` (n, 10) int, as counted; `digests` of the pixels."""

    crops: NDArray[np.uint8]
    votes: NDArray[np.int64]
    digests: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.crops)

    def where(self, keep: NDArray[np.bool_]) -> "Split":
        return Split(self.crops[keep], self.votes[keep], self.digests[keep])


def split_path(folder: Path, name: str) -> Path:
    """Where a split lies: `name`.zip, or the unpacked folder where there is no such file."""
    zipped = folder / f"{name}.zip"
    return zipped if zipped.exists() else folder / name


def read_split(path: Path, *, size: int) -> Split:
    """Read `FER2013Train` and the like, as a folder or as a zip of one.

    Raises FerPlusError when the path, its label.csv or a picture named there is missing.
    """
    if not path.exists():
        raise FerPlusError(f"no FER+ split at {path}")
    crops, votes, digests = [], [], []
    for name, box, counts, data in _rows(path):
        try:
            gray = to_gray(decode(data, max_pixels=_FACE_PIXELS))
        except Exception as error:
            raise FerPlusError(f"{path.name}: {name} is no picture") from error
        crops.append(crop_face(gray, box, size=size))
        votes.append(counts)
        digests.append(hashlib.sha256(gray.tobytes()).hexdigest())
    if not crops:
        raise FerPlusError(f"{path} holds no pictures")
    return Split(np.stack(crops), np.array(votes), np.array(digests))


def _rows(path: Path) -> Iterator[tuple[str, Box, list[int], bytes]]:
    """(name, box, votes, bytes of the file) for every line of label.csv."""
    if path.is_dir():
        files = {file.name: file for file in path.rglob("*") if file.is_file()}
        yield from _labelled(path.name, files.keys(), lambda name: files[name].read_bytes())
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise FerPlusError(f"{path} is neither a folder nor a zip file") from error
    with archive:
        members = {Path(member).name: member for member in archive.namelist()}
        yield from _labelled(path.name, members.keys(), lambda name: archive.read(members[name]))


def _labelled(
    split: str, names: Collection[str], read: Callable[[str], bytes]
) -> Iterator[tuple[str, Box, list[int], bytes]]:
    if "label.csv" not in names:
        raise FerPlusError(f"{split} holds no label.csv")
    lines = read("label.csv").decode("utf-8").splitlines()
    for number, row in enumerate(csv.reader(lines), start=1):
        try:
            name, corners, counts = row[0], row[1].strip("()").split(","), row[2:]
            box = Box(*map(float, corners))
            votes = [int(float(count)) for count in counts]
            if len(votes) != _VOTE_COLUMNS:
                raise ValueError(f"{len(votes)} vote columns, expected {_VOTE_COLUMNS}")
        except (IndexError, TypeError, ValueError) as error:
            raise FerPlusError(f"{split}: label.csv line {number}: {error}") from error
        if name not in names:
            raise FerPlusError(f"{split}: label.csv line {number}: {name} is missing")
        yield name, box, votes, read(name)


def clean_votes(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The authors' rule: a single vote is an outlier and counts as none."""
    return np.where(votes > 1, votes, 0)


def majority(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class of each row under the majority protocol, -1 where a row is left out.

    A row counts when one class has more than half of the cleaned votes and is an emotion.
    """
    cleaned = clean_votes(votes)
    top = cleaned.argmax(axis=1)
    strict = 2 * cleaned.max(axis=1) > cleaned.sum(axis=1)
    return np.where(strict & (top < len(LABELS)), top, -1)


def most_voted(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class of each row under the all-pictures protocol, -1 where no emotion has a vote.

    The emotion with most raw votes, the first in FER+ order where two have as many.
    """
    emotions = votes[:, : len(LABELS)]
    return np.where(emotions.sum(axis=1) > 0, emotions.argmax(axis=1), -1)


def distribution(votes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Training targets (n, 8): cleaned votes over the emotions, each row summing to 1."""
    emotions = clean_votes(votes)[:, : len(LABELS)].astype(np.float32)
    return emotions / emotions.sum(axis=1, keepdims=True)


def usable_for_training(votes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows with at least three cleaned votes for emotions and no unknown/not-a-face majority."""
    cleaned = clean_votes(votes)
    emotion_votes = cleaned[:, : len(LABELS)].sum(axis=1)
    return (emotion_votes >= 3) & (cleaned.argmax(axis=1) < len(LABELS))


def first_of_each(digests: NDArray[np.str_]) -> NDArray[np.bool_]:
    """True at the first row of every distinct picture."""
    keep = np.zeros(len(digests), dtype=bool)
    keep[np.unique(digests, return_index=True)[1]] = True
    return keep
