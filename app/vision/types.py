"""Domain types that every layer uses.

Coordinates are in pixels of the original image after the EXIF orientation is applied. The origin is
the top left corner, x points right and y down. A box contains the pixels from `x1, y1` (inclusive)
to `x2, y2` (exclusive), so the width is `x2 - x1`.
"""

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned rectangle in pixels. Raises ValueError if it is empty or not finite."""

    x1: float
    y1: float
    x2: float
    y2: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.xyxy)):
            raise ValueError(f"box coordinates must be finite, got {self.xyxy}")
        if self.x2 <= self.x1 or self.y2 <= self.y1:
            raise ValueError(f"box must have x1 < x2 and y1 < y2, got {self.xyxy}")

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        return self.x1, self.y1, self.x2, self.y2

    @property
    def width(self) -> float:
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def longer_side(self) -> float:
        return max(self.width, self.height)

    def scaled(self, factor: float) -> "Box":
        """Convert the box to an image whose sides have `factor` times as many pixels."""
        return Box(*(factor * value for value in self.xyxy))


@dataclass(frozen=True, slots=True)
class Detection:
    """A detected box.

    `score` is the probability in [0, 1] that the box contains a face, or None if the detector gives
    no scores. Raises ValueError for a score outside [0, 1].
    """

    box: Box
    score: float | None = None

    def __post_init__(self) -> None:
        if self.score is not None and not 0 <= self.score <= 1:
            raise ValueError(f"detection score must be in [0, 1], got {self.score}")


@dataclass(frozen=True, slots=True)
class DetectionOptions:
    """Conditions for the faces of a result.

    `min_face_px`: minimum longer side of the box in pixels; None for the default of
    app.vision.detectors.default_min_face_px.
    `min_confidence`: minimum detection score. Faces without a score pass.
    `max_faces`: maximum number of faces. The largest faces are used.
    `rotate`: "none", or "auto" to rotate an image without a face: see app.vision.pipelines.search.
    """

    min_face_px: float | None = None
    min_confidence: float = 0.0
    max_faces: int = sys.maxsize
    rotate: str = "none"


class Scores(Mapping[str, float]):
    """The score of each label of a model, in [0, 1], in the order of the model's labels.

    `exclusive` scores are a distribution over labels that exclude each other, such as the emotions
    of FER+. They sum to 1, and at most one is above 0.5. Other scores are independent, such as the
    categories of EMOTIC: several or none of the labels can apply.

    Immutable. Raises ValueError if there are no scores, if a score is outside [0, 1] or not finite,
    or if exclusive scores do not sum to 1 within SUM_TOLERANCE.
    """

    __slots__ = ("_scores", "exclusive")

    def __init__(self, scores: Mapping[str, float], *, exclusive: bool = True) -> None:
        values = scores.values()
        if not values or not all(0 <= value <= 1 for value in values):
            raise ValueError(f"scores must be in [0, 1], got {dict(scores)}")
        if exclusive and abs(math.fsum(values) - 1) > SUM_TOLERANCE:
            raise ValueError(f"exclusive scores must sum to 1, got {math.fsum(values)}")
        self._scores = dict(scores)
        self.exclusive = exclusive

    def __getitem__(self, label: str) -> float:
        return self._scores[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self._scores)

    def __len__(self) -> int:
        return len(self._scores)

    def __repr__(self) -> str:
        return f"Scores({self._scores}, exclusive={self.exclusive})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Scores):
            return self.exclusive == other.exclusive and self._scores == other._scores
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    @property
    def highest(self) -> str:
        """The label with the highest score. Ties go to the first label."""
        return max(self._scores, key=self._scores.__getitem__)

    def rounded(self, threshold: float) -> dict[str, float]:
        """Round the scores to 2 decimals and return the rounded scores of at least `threshold`."""
        rounded = {label: round(score, 2) for label, score in self._scores.items()}
        return {label: score for label, score in rounded.items() if score >= threshold}


@dataclass(frozen=True, slots=True)
class Face:
    """A face with the scores of its emotions.

    `track_id` identifies the same face in all frames of a video. It is None for a still image.
    """

    box: Box
    emotions: Scores
    detection_score: float | None = None
    track_id: int | None = None

    @property
    def dominant(self) -> str:
        """The emotion with the highest score."""
        return self.emotions.highest


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Continuous dimensions of emotion, each from 1 to 10 (the scale of EMOTIC, Kosti et al. 2019).

    Raises ValueError if a value is outside the scale or not finite.
    """

    valence: float
    arousal: float
    dominance: float

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 1 <= getattr(self, name) <= 10:
                raise ValueError(f"{name} must be from 1 to 10, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Person:
    """A whole person with independent scores of emotion categories, and dimensions.

    `face` is the index (from 0) of the person's face in `Analysis.faces`, or None if the person has
    no detected face.
    """

    box: Box
    categories: Scores
    dimensions: Dimensions
    detection_score: float | None = None
    face: int | None = None
    track_id: int | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """The position of an image in a video or stream.

    `index` counts the analysed frames of the job from 0. `position_ms` is the time since the start
    of the video in milliseconds. Raises ValueError for negative values.
    """

    job_id: str
    position_ms: int
    index: int

    def __post_init__(self) -> None:
        if self.position_ms < 0 or self.index < 0:
            raise ValueError(f"a frame cannot be before the start, got {self}")


@dataclass(frozen=True, slots=True)
class ModelRef:
    """The model that computed a result. `sha256` is the checksum of the weights."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class PersonModel:
    """The model that scored the categories of persons.

    `thresholds` contains the minimum score of each category in a response. A category without a
    threshold is never in a response. Raises ValueError for a threshold outside [0, 1].
    """

    ref: ModelRef
    thresholds: Mapping[str, float]

    def __post_init__(self) -> None:
        if not all(0 <= threshold <= 1 for threshold in self.thresholds.values()):
            raise ValueError(f"thresholds must be in [0, 1], got {dict(self.thresholds)}")

    def shows(self, category: str, score: float) -> bool:
        """Return whether `score` reaches the threshold of `category`."""
        return category in self.thresholds and score >= self.thresholds[category]


@dataclass(frozen=True, slots=True)
class Analysis:
    """The result for one image.

    `faces` and `persons` are ordered by size, largest first. Clients count faces from 1. Pipelines
    that detect only faces return no persons.
    `threshold` comes from the request. It selects the emotions of a response; the analysis contains
    the scores of all emotions.
    `dropped` counts the detected faces that the detection options excluded, by option.
    `timings_ms` contains the duration of each stage in milliseconds.
    `rotation` is the clockwise rotation in degrees that was needed to find the faces. Boxes are in
    pixels of the image before the rotation.
    `frame` is None for an image that is not a frame of a video or stream.
    `id` is None until the store has committed the analysis.

    Raises ValueError for a threshold outside [0, 1], an empty size, a person with a face that does
    not exist, and a `created_at` without a time zone.
    """

    file_name: str
    threshold: float
    width: int
    height: int
    faces: tuple[Face, ...]
    model: ModelRef
    detector: str
    dropped: Mapping[str, int] = field(default_factory=dict)
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    rotation: int = 0
    persons: tuple[Person, ...] = ()
    frame: Frame | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: int | None = None
    # None for pipelines that look at faces only.
    person_model: PersonModel | None = None
    # Replaces the thresholds of the person model if the request sets category_threshold.
    category_threshold: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {self.threshold}")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"image must have a size, got {self.width}x{self.height}")
        if any(each.face is not None and each.face >= len(self.faces) for each in self.persons):
            raise ValueError("the face of a person must be an index into the faces of the analysis")
        if self.created_at.tzinfo is None:
            raise ValueError("created_at must have a time zone")
        if self.category_threshold is not None and not 0 <= self.category_threshold <= 1:
            raise ValueError(f"category_threshold must be in [0, 1], got {self.category_threshold}")
