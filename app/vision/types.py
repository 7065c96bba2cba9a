"""The nouns that cross every wall.

Coordinate convention, stated here once: pixels of the upright (EXIF-applied) original picture,
origin at its top left corner, x to the right and y downwards. A box reaches from `x1, y1`
(inclusive) to `x2, y2` (exclusive), so its width is `x2 - x1`.
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned rectangle in pixels. Raises ValueError when empty or not finite."""

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
        """This box in a picture that has `factor` times as many pixels a side."""
        return Box(*(factor * value for value in self.xyxy))


@dataclass(frozen=True, slots=True)
class Detection:
    """What a detector says: a box and, where it can tell, how likely it holds a face.

    `score` is a probability in [0, 1], or None for a detector that does not score its boxes.
    """

    box: Box
    score: float | None = None

    def __post_init__(self) -> None:
        if self.score is not None and not 0 <= self.score <= 1:
            raise ValueError(f"detection score must be in [0, 1], got {self.score}")


@dataclass(frozen=True, slots=True)
class DetectionOptions:
    """Which faces are wanted: from `min_face_px` pixels of the original on, the longer side of the
    box (None: see app.vision.detectors.default_min_face_px); with a detection score of at least
    `min_confidence`, where the detector gives any; and of those the `max_faces` largest.

    With `rotate` "auto" instead of "none", an image without such a face is turned: see
    app.vision.pipelines.search.
    """

    min_face_px: float | None = None
    min_confidence: float = 0.0
    max_faces: int = sys.maxsize
    rotate: str = "none"


@dataclass(frozen=True, slots=True)
class Face:
    """One face and the whole distribution over its model's emotions, which sums to 1.

    Raises ValueError when `probabilities` is empty, not finite or does not sum to 1.
    """

    box: Box
    probabilities: Mapping[str, float]
    detection_score: float | None = None

    def __post_init__(self) -> None:
        values = self.probabilities.values()
        if not values or not all(0 <= value <= 1 for value in values):
            raise ValueError(f"probabilities must be in [0, 1], got {dict(self.probabilities)}")
        if abs(math.fsum(values) - 1) > 1e-3:
            raise ValueError(f"probabilities must sum to 1, got {math.fsum(values)}")
        object.__setattr__(self, "probabilities", MappingProxyType(dict(self.probabilities)))

    @property
    def dominant(self) -> str:
        """The most probable emotion; the first in the model's order where two are equal."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    def shown(self, threshold: float) -> dict[str, float]:
        """The emotions that a threshold lets through, rounded to 2 decimals. The rounded value
        decides, so nobody sees a figure below the threshold they asked for."""
        rounded = {emotion: round(value, 2) for emotion, value in self.probabilities.items()}
        return {emotion: value for emotion, value in rounded.items() if value >= threshold}


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Which weights gave an answer."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """What was found in one picture, in full: a threshold is a way of looking at it.

    `faces` are ordered largest first and a client counts them from 1. `threshold` is the one its
    sender asked to look with. `id` is None until the store has committed it. `dropped` counts what
    was found and filtered out, by the name of the filter. `timings_ms` holds milliseconds by stage.
    `rotation` is by how many degrees clockwise the image was turned to find the faces; boxes are in
    pixels of the image before the turn.
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
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {self.threshold}")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"picture must have a size, got {self.width}x{self.height}")
        if self.created_at.tzinfo is None:
            raise ValueError("created_at must be aware of its time zone")
