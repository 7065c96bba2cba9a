"""FER+ in the layout of its authors: folders such as `FER2013Train/` with a label.csv, or zips."""

import csv
import zipfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from app.vision.image import ImageFile, crop_face
from app.vision.types import Box
from training.data.split import DataError, Split, digest
from training.ferplus_labels import VOTE_COLUMNS

FOLDERS = {"train": "FER2013Train", "valid": "FER2013Valid", "test": "FER2013Test"}
_FACE_PIXELS = 1_000_000


def split_path(data: Path, split: str) -> Path | None:
    """Return the path of the zip, or of the folder if there is no zip, or None."""
    for path in (data / f"{FOLDERS[split]}.zip", data / FOLDERS[split]):
        if path.exists():
            return path
    return None


def read(path: Path, *, size: int) -> Split:
    """Read a folder or zip of FER+. Raises DataError if label.csv or an image is missing or
    invalid."""
    rows = []
    for name, box, votes, data in _rows(path):
        try:
            gray = ImageFile(data, max_pixels=_FACE_PIXELS).read().gray
            rows.append((crop_face(gray, box, size=size), votes, digest(gray)))
        except Exception as error:
            raise DataError(
                f"{path.name}: {name} is not an image, or the box is outside of it"
            ) from error
    if not rows:
        raise DataError(f"{path} has no images")
    return Split.of(rows)


def _rows(path: Path) -> Iterator[tuple[str, Box, list[int], bytes]]:
    """Return name, box, votes and content of the file for each line of label.csv."""
    if path.is_dir():
        files = {file.name: file for file in path.rglob("*") if file.is_file()}
        yield from _labelled(path.name, files.keys(), lambda name: files[name].read_bytes())
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is neither a folder nor a zip file") from error
    with archive:
        members = {Path(member).name: member for member in archive.namelist()}
        yield from _labelled(path.name, members.keys(), lambda name: archive.read(members[name]))


def _labelled(
    split: str, names: Collection[str], read_file: Callable[[str], bytes]
) -> Iterator[tuple[str, Box, list[int], bytes]]:
    if "label.csv" not in names:
        raise DataError(f"{split} has no label.csv")
    lines = read_file("label.csv").decode("utf-8").splitlines()
    for number, row in enumerate(csv.reader(lines), start=1):
        try:
            name, corners, counts = row[0], row[1].strip("()").split(","), row[2:]
            box = Box(*map(float, corners))
            votes = [int(float(count)) for count in counts]
            if len(votes) != VOTE_COLUMNS:
                raise ValueError(f"{len(votes)} vote columns, expected {VOTE_COLUMNS}")
        except (IndexError, TypeError, ValueError) as error:
            raise DataError(f"{split}: label.csv line {number}: {error}") from error
        if name not in names:
            raise DataError(f"{split}: label.csv line {number}: {name} is missing")
        yield name, box, votes, read_file(name)
