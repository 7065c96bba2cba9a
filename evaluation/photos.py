"""Photographs with boxes: `photos/images.csv` (one row a picture) and `photos/faces.csv`."""

import csv
from dataclasses import dataclass
from pathlib import Path

from app.vision.types import Box


class PhotosError(Exception):
    """The folder holds no such tables; the message names the missing one."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """A photograph with one main face whose expression a person named."""

    path: Path
    box: Box
    expression: str


def read_portraits(photos: Path, *, split: str | None = None) -> list[Portrait]:
    """The pictures of lfw-expressions, of one split or of both. Raises PhotosError."""
    splits = {row["image"]: row["split"] for row in _rows(photos / "images.csv")}
    return [
        Portrait(
            photos / row["image"],
            Box(*(float(row[k]) for k in ("x1", "y1", "x2", "y2"))),
            row["expression"],
        )
        for row in _rows(photos / "faces.csv")
        if row["image"].startswith("lfw-expressions/")
        and row["expression"]
        and split in (None, splits[row["image"]])
    ]


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise PhotosError(f"no {path}") from error


def iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(first.x2, second.x2) - max(first.x1, second.x1)
    height = min(first.y2, second.y2) - max(first.y1, second.y1)
    if width <= 0 or height <= 0:
        return 0.0
    overlap = width * height
    return overlap / (first.area + second.area - overlap)
