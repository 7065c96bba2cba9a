"""What queries take and give, beside the Analysis itself."""

import unicodedata
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from app.vision.types import Analysis, Face

LONGEST_FILE_NAME = 255  # characters; longer ones are cut

Item = TypeVar("Item")


def normalized_name(name: str) -> str:
    """`name` in the form in which names are stored: Unicode normalization form C."""
    return unicodedata.normalize("NFC", name)


@dataclass(frozen=True, slots=True)
class Filters:
    """What the documented filters ask for; None asks for nothing.

    `emotion` alone: faces whose most probable emotion it is. With `min_probability`: faces that
    show it with at least that probability. `min_probability` alone: faces that show any emotion
    so surely. Images match when one of their faces does. `since` is inclusive, `until` is not.
    `file_name` finds names that are canonically equivalent in Unicode.
    """

    emotion: str | None = None
    min_probability: float | None = None
    file_name: str | None = None
    model: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    min_faces: int | None = None


@dataclass(frozen=True, slots=True)
class FoundFace:
    """A face across images: its number in its picture, from 1, and that picture's analysis,
    reduced to this one face."""

    image: Analysis
    number: int

    @property
    def face(self) -> Face:
        return self.image.faces[0]


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """`next_cursor` asks for the items that follow; None at the end."""

    items: list[Item]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Span:
    """Counts of one hour, day or model. `dominant` counts faces by their most probable emotion,
    `mean_probability` is over all faces whose model knows the emotion. `sums` are the sums of the
    faces' probabilities, by model and emotion."""

    span: str
    images: int
    faces: int
    dominant: dict[str, int]
    mean_probability: dict[str, float]
    sums: dict[str, dict[str, float]] = field(default_factory=dict)
