"""Photographs with annotated faces: `photos/images.csv` (a row per image), `photos/faces.csv` (a
row per face), and the small collection `photos/groups/` with its boxes.csv."""

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from app.vision.types import Box
from training.data.wild import UNCLEAR

GROUPS, PORTRAITS = "groups", "lfw-expressions"
READINGS = "portrait_readings.csv"
_BOX = ("x1", "y1", "x2", "y2")


class PhotosError(Exception):
    """A table is missing in the folder of photographs. The message names it."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """A photograph with the box and the annotated expression of its main face."""

    path: Path
    box: Box
    expression: str


@dataclass(frozen=True, slots=True)
class AnnotatedFace:
    """An annotated face. A detector must find faces that are `sure`; the others are ignored.
    `condition` is bare, masked, "mask worn wrongly", or empty if it was not annotated."""

    box: Box
    sure: bool = True
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Photograph:
    path: Path
    faces: tuple[AnnotatedFace, ...]


def read_portraits(photos: Path, *, split: str | None = None) -> list[Portrait]:
    """Return the portraits of lfw-expressions with the expressions that one person annotated, of
    one split or of both. A quarter of the labels differ from two equal readings; the
    evaluation does not use them. Raises PhotosError."""
    splits = _splits(photos)
    return [
        Portrait(photos / row["image"], _box(row), row["expression"])
        for row in _rows(photos / "faces.csv")
        if row["image"].startswith(f"{PORTRAITS}/")
        and row["expression"]
        and split in (None, splits[row["image"]])
    ]


def portraits_with_readings(photos: Path) -> set[Path]:
    """Return the portraits that a vision-language model annotated. They are used for validation
    only. Raises PhotosError."""
    return {photos / row["image"] for row in _rows(photos / READINGS)}


def portraits_with_equal_readings(photos: Path) -> list[Portrait]:
    """Return the portraits that a vision-language model annotated twice, independently, with the
    same expression. Unclear ones are left out. Raises PhotosError."""
    expressions = {
        photos / row["image"]: row["reader1"]
        for row in _rows(photos / READINGS)
        if row["reader1"] == row["reader2"] != UNCLEAR
    }
    return [
        replace(portrait, expression=expressions[portrait.path])
        for portrait in read_portraits(photos)
        if portrait.path in expressions
    ]


def read_photographs(photos: Path, collection: str, *, split: str | None) -> list[Photograph]:
    """Return the images of a collection (crowds, natural, lfw-expressions, groups) with their
    faces, of one split or of both. The collection `groups` has no splits. Raises PhotosError."""
    if collection == GROUPS:
        return list(_groups(photos / GROUPS))
    faces: dict[str, list[AnnotatedFace]] = defaultdict(list)
    for row in _rows(photos / "faces.csv"):
        faces[row["image"]].append(
            AnnotatedFace(_box(row), row["label"] == "sure", row["condition"])
        )
    return [
        Photograph(photos / image, tuple(faces[image]))
        for image, image_split in _splits(photos).items()
        if image.startswith(f"{collection}/") and split in (None, image_split)
    ]


def _groups(folder: Path) -> Iterator[Photograph]:
    """Return the images with boxes, and dogs.jpg, which has no face. Two portraits have no boxes
    and are left out."""
    faces: dict[str, list[AnnotatedFace]] = defaultdict(list)
    for row in _rows(folder / "boxes.csv"):
        faces[row["image"]].append(AnnotatedFace(_box(row)))
    for path in sorted(folder.iterdir()):
        if path.name in faces or path.stem == "dogs":
            yield Photograph(path, tuple(faces[path.name]))


def _splits(photos: Path) -> dict[str, str]:
    return {row["image"]: row["split"] for row in _rows(photos / "images.csv")}


def _box(row: dict[str, str]) -> Box:
    return Box(*(float(row[name]) for name in _BOX))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise PhotosError(f"no {path}") from error
