"""Typed responses of the service.

Unknown JSON members are ignored, so that this package works with a newer service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from emotions.choices import Document


@dataclass(frozen=True)
class Face:
    """A face of an image.

    `face_id` counts from 1 within the image. `box_xyxy` is in pixels of the upright image.
    `detection_score` is the probability that the box contains a face, or None if the detector has
    no score. `emotions` is the probability of each emotion that the model knows, and `dominant` the
    most probable emotion.

    If `exclusive` is true, the emotions exclude each other and their probabilities sum to 1.
    Otherwise any number of emotions can apply: use `shown` instead of `dominant`.

    `valence` (unpleasant to pleasant) and `arousal` (calm to excited) are between -1 and 1. They
    are None if an emotion of the model has no published coordinates. `track_id` identifies a face
    across the frames of a video.
    """

    face_id: int
    box_xyxy: tuple[float, float, float, float]
    dominant: str
    emotions: Mapping[str, float]
    detection_score: float | None = None
    valence: float | None = None
    arousal: float | None = None
    exclusive: bool = True
    track_id: int | None = None

    def shown(self, threshold: float) -> dict[str, float]:
        """Return the emotions whose probability reaches `threshold`.

        Probabilities are rounded to 2 decimals before the comparison, like in the service's JSON.
        """
        rounded = {name: round(value, 2) for name, value in self.emotions.items()}
        return {name: value for name, value in rounded.items() if value >= threshold}

    @classmethod
    def read(cls, document: Document) -> Face:
        return cls(
            face_id=document["face_id"],
            box_xyxy=_box(document["box"]),
            dominant=document["dominant"],
            emotions=dict(document["emotions"]),
            detection_score=document.get("detection_score"),
            valence=document.get("valence"),
            arousal=document.get("arousal"),
            exclusive=document.get("exclusive", True),
            track_id=document.get("track_id"),
        )


@dataclass(frozen=True)
class Person:
    """A whole person in an image.

    `categories` are the independent scores of emotion categories. `valence`, `arousal` and
    `dominance` are between 1 and 10. `face_id` is the person's face in the same image, or None if
    no face was detected.
    """

    person_id: int
    box_xyxy: tuple[float, float, float, float]
    categories: Mapping[str, float]
    valence: float
    arousal: float
    dominance: float
    face_id: int | None = None
    detection_score: float | None = None

    @classmethod
    def read(cls, document: Document) -> Person:
        return cls(
            person_id=document["person_id"],
            box_xyxy=_box(document["box"]),
            categories=dict(document["categories"]),
            valence=document["valence"],
            arousal=document["arousal"],
            dominance=document["dominance"],
            face_id=document.get("face_id"),
            detection_score=document.get("detection_score"),
        )


@dataclass(frozen=True)
class Mood:
    """The mood of the group in one image.

    `mood` is the dominant emotion of the group. If every face is excluded, `mood` is None and the
    mappings are empty. `weights` maps a `face_id` to the weight of the face. `left_out` maps the
    `face_id` of each excluded face to the reason. `valence` has the sums of the "positive",
    "neutral" and "negative" emotions, unlike the `valence` of a face, which is one number.
    """

    aggregator: str
    mood: str | None
    distribution: Mapping[str, float]
    agreement: float | None
    valence: Mapping[str, float]
    shares: Mapping[str, float]
    weights: Mapping[int, float]
    left_out: Mapping[int, str]

    @classmethod
    def read(cls, document: Document) -> Mood:
        return cls(
            aggregator=document["aggregator"],
            mood=document["mood"],
            distribution=dict(document["distribution"]),
            agreement=document["agreement"],
            valence=dict(document["valence"]),
            shares=dict(document["shares"]),
            weights={face["face_id"]: face["weight"] for face in document["faces"]},
            left_out={face["face_id"]: face["reason"] for face in document["left_out"]},
        )


@dataclass(frozen=True)
class Analysis:
    """The result for one image.

    `id` is None if the image was not stored. `width` and `height` are the size of the upright image
    in pixels. `dropped` counts the excluded faces by reason. `group` is the mood of the group,
    or None if the option `mood` was not set. `rotation` is the clockwise rotation in degrees at
    which the faces were detected; boxes are in pixels of the image before that rotation.

    `persons` is empty unless the pipeline detects persons. `job` and `position_ms` are the job and
    the time of a video frame, and None for other images.
    """

    id: int | None
    file_name: str
    threshold: float
    created_at: datetime
    model: str
    model_version: str
    detector: str
    width: int
    height: int
    faces: tuple[Face, ...]
    dropped: Mapping[str, int]
    timings_ms: Mapping[str, float]
    group: Mood | None = None
    rotation: int = 0
    persons: tuple[Person, ...] = ()
    job: str | None = None
    position_ms: int | None = None
    _ask_mood: Callable[..., Mood] | None = field(default=None, repr=False, compare=False)

    def mood(
        self, aggregator: str | None = None, *, min_face_px: float = 0, min_confidence: float = 0
    ) -> Mood:
        """Request the mood of the group. Without an `aggregator`, the service uses its default.

        Raises EmotionError, and ValueError if the analysis is not stored.
        """
        if self.id is None or self._ask_mood is None:
            raise ValueError(
                "the mood is only available for stored images, and this image is not stored: "
                "use store=True or the option mood of analyse()"
            )
        return self._ask_mood(
            self.id, aggregator, min_face_px=min_face_px, min_confidence=min_confidence
        )

    @classmethod
    def read(cls, document: Document, ask_mood: Callable[..., Mood] | None = None) -> Analysis:
        return cls(
            id=document.get("id"),
            file_name=document["file_name"],
            threshold=document["threshold"],
            created_at=_time(document["created_at"]),
            model=document["model"]["name"],
            model_version=document["model"]["version"],
            detector=document["detector"],
            width=document["width"],
            height=document["height"],
            faces=tuple(Face.read(face) for face in document["faces"]),
            dropped=dict(document.get("dropped", {})),
            timings_ms=dict(document.get("timings_ms", {})),
            group=Mood.read(document["mood"]) if document.get("mood") else None,
            rotation=document.get("rotation", 0),
            persons=tuple(Person.read(person) for person in document.get("persons", ())),
            job=document.get("job"),
            position_ms=document.get("position_ms"),
            _ask_mood=ask_mood,
        )


@dataclass(frozen=True)
class Annotated:
    """An image file with boxes and labels. `image_id` is None if the image was not stored."""

    data: bytes
    media_type: str
    image_id: int | None


@dataclass(frozen=True)
class FoundFace:
    """A face of a stored image, with the id, the name and the time of the image."""

    image_id: int
    file_name: str
    created_at: datetime
    face: Face

    @classmethod
    def read(cls, document: Document) -> FoundFace:
        return cls(
            image_id=document["image_id"],
            file_name=document["file_name"],
            created_at=_time(document["created_at"]),
            face=Face.read(document["face"]),
        )


@dataclass(frozen=True)
class SpanEmotion:
    """Counts of one emotion. `faces` is the number of faces for which the emotion is dominant.
    `mean_probability` is the mean over all faces whose model knows the emotion."""

    faces: int
    mean_probability: float


@dataclass(frozen=True)
class Span:
    """One hour, day or model of a summary. `valence` and `arousal` are means over the faces."""

    span: str
    images: int
    faces: int
    emotions: Mapping[str, SpanEmotion]
    valence: float | None = None
    arousal: float | None = None

    @classmethod
    def read(cls, document: Document) -> Span:
        return cls(
            span=document["span"],
            images=document["images"],
            faces=document["faces"],
            emotions={
                name: SpanEmotion(entry["faces"], entry["mean_probability"])
                for name, entry in document["emotions"].items()
            },
            valence=document.get("valence"),
            arousal=document.get("arousal"),
        )


def _box(document: Document) -> tuple[float, float, float, float]:
    return document["x1"], document["y1"], document["x2"], document["y2"]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
