"""Arguments and results of queries: filters, pages and summaries."""

import unicodedata
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from app.vision.types import Analysis, Dimensions, Face, Person

LONGEST_FILE_NAME = 255  # characters; longer names are truncated

Item = TypeVar("Item")


def normalized_name(name: str) -> str:
    """Return `name` in Unicode normalization form C, in which names are stored."""
    return unicodedata.normalize("NFC", name)


@dataclass(frozen=True, slots=True)
class PersonFilters:
    """Filters on persons. A person must match all filters that are not None.

    `category` alone matches persons that show the category: their score reaches the threshold of
    the model. With `min_score`, it matches persons with at least this score. The limits of valence,
    arousal and dominance are inclusive. Raises ValueError for `min_score` without `category`.
    """

    category: str | None = None
    min_score: float | None = None
    min_valence: float | None = None
    max_valence: float | None = None
    min_arousal: float | None = None
    max_arousal: float | None = None
    min_dominance: float | None = None
    max_dominance: float | None = None

    def __post_init__(self) -> None:
        if self.min_score is not None and self.category is None:
            raise ValueError("min_score needs a category")


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of the API. Filters that are None are not applied.

    `emotion` alone matches faces with this dominant emotion. With `min_probability`, it matches
    faces with at least this probability of the emotion. `min_probability` alone matches faces with
    at least this probability of their dominant emotion. An image matches if one of its faces
    matches and one of its persons matches `persons`. `since` is inclusive, `until` is exclusive.
    `file_name` matches all names that are canonically equivalent in Unicode.
    """

    emotion: str | None = None
    min_probability: float | None = None
    file_name: str | None = None
    model: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    min_faces: int | None = None
    persons: PersonFilters = PersonFilters()

    @property
    def has_face_filter(self) -> bool:
        return self.emotion is not None or self.min_probability is not None


@dataclass(frozen=True, slots=True)
class FoundFace:
    """A face that a query across images found.

    `image` is the analysis with this face only. `number` counts the faces of the image from 1.
    """

    image: Analysis
    number: int

    @property
    def face(self) -> Face:
        return self.image.faces[0]


@dataclass(frozen=True, slots=True)
class FoundPerson:
    """A person that a query across images found.

    `image` is the analysis without faces and persons. `number` counts the persons of the image from
    1.
    """

    image: Analysis
    number: int
    person: Person


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """A page of items. `next_cursor` is the cursor of the next page, or None on the last page."""

    items: list[Item]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Span:
    """Counts and means of one hour, day or model.

    `dominant` counts faces by their dominant emotion. `mean_probability` holds, by emotion, the
    mean over the faces whose model has the emotion. `sums` holds, by model and emotion, the sums
    of the probabilities of the faces with exclusive scores.
    """

    span: str
    images: int
    faces: int
    dominant: dict[str, int]
    mean_probability: dict[str, float]
    sums: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PersonSpan:
    """Counts and means over the persons of one hour, day or model.

    `shown` counts the persons that show each category. `mean_score` holds, by category, the mean
    over the persons whose model knows the category. `mean_dimensions` is None without persons.
    """

    persons: int
    shown: dict[str, int]
    mean_score: dict[str, float]
    mean_dimensions: Dimensions | None
