"""Filters, pages and summaries: the arguments and results of queries, beside Analysis itself."""

import unicodedata
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from app.vision.types import Analysis, Dimensions, Face, Person

LONGEST_FILE_NAME = 255  # characters; longer names are cut

Item = TypeVar("Item")


def normalized_name(name: str) -> str:
    """`name` in the form in which names are stored: Unicode normalization form C."""
    return unicodedata.normalize("NFC", name)


@dataclass(frozen=True, slots=True)
class PersonFilters:
    """Filters on persons; None filters nothing. One person must match all of them.

    `category` alone matches persons that show the category: its score reaches the threshold of the
    model. With `min_score`, it matches persons with at least that score. The limits of valence,
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
    """The documented filters; None filters nothing.

    `emotion` alone matches faces with that dominant emotion. With `min_probability`, it matches
    faces whose probability of the emotion is at least that. `min_probability` alone matches faces
    with at least that probability of any emotion. Images match when one of their faces matches and
    one of their persons matches `persons`. `since` is inclusive, `until` is exclusive. `file_name`
    matches all names that are canonically equivalent in Unicode.
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
    def asks_for_faces(self) -> bool:
        return self.emotion is not None or self.min_probability is not None


@dataclass(frozen=True, slots=True)
class FoundFace:
    """A face of any image: its number in the image, from 1, and the analysis of the image, reduced
    to this face."""

    image: Analysis
    number: int

    @property
    def face(self) -> Face:
        return self.image.faces[0]


@dataclass(frozen=True, slots=True)
class FoundPerson:
    """A person of any image: its number in the image, from 1, and the analysis of the image without
    its faces and persons."""

    image: Analysis
    number: int
    person: Person


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """`next_cursor` asks for the items that follow; None at the end."""

    items: list[Item]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Span:
    """Counts of one hour, day or model. `dominant` counts faces by their dominant emotion.
    `mean_probability` is the mean over all faces whose model knows the emotion. `sums` holds, by
    model and emotion, the sums of the probabilities of the faces with exclusive scores."""

    span: str
    images: int
    faces: int
    dominant: dict[str, int]
    mean_probability: dict[str, float]
    sums: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PersonSpan:
    """The persons of one hour, day or model. `shown` counts, by category, the persons that show it;
    `mean_score` is the mean over all persons whose model knows the category. `mean_dimensions` is
    None without persons."""

    persons: int
    shown: dict[str, int]
    mean_score: dict[str, float]
    mean_dimensions: Dimensions | None
