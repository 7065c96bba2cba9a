"""What the service answers. Unknown members of answers are ignored, so that a newer service works
with this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from emotions.choices import Document


class Options(TypedDict, total=False):
    """How an image is analysed. The service's defaults apply to options that are left out or None.

    `detector="none"` takes the whole image as one face. `rotate="auto"` turns an image in which no
    face is found, for images that lie on their side. `mood` is the aggregator for the mood of the
    group: see `EmotionClient.aggregators`.
    """

    threshold: float | None
    pipeline: str | None
    model: str | None
    detector: str | None
    min_face_px: float | None
    min_confidence: float | None
    max_faces: int | None
    rotate: str | None
    mood: str | None


class Filters(TypedDict, total=False):
    """Which stored images or faces are meant; what is left out or None asks for nothing. `since` is
    inclusive, `until` is not."""

    emotion: str | None
    min_probability: float | None
    file_name: str | None
    model: str | None
    since: datetime | str | None
    until: datetime | str | None
    min_faces: int | None


@dataclass(frozen=True)
class Face:
    """`box_xyxy` is in pixels of the upright image, `emotions` the probability of each emotion that
    the model knows, `face_id` counts from 1 within the image. `detection_score` is the probability
    that it is a face, None where the detector gives none. `valence` and `arousal` say how pleasant
    and how excited the expression is, from -1 to 1; None for a model with emotions that have no
    published coordinates. `dominant` is the emotion with the highest probability.

    `exclusive`: the emotions exclude each other and their probabilities sum to 1. Otherwise several
    emotions or none can apply, and `dominant` is only one of them: use `shown`. `track_id` is the
    same for one face in all frames of a video."""

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
        """Return the emotions whose probability, rounded to 2 decimals, is at least `threshold`,
        with that rounded probability: the same keys and values as the service's documented JSON.
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
    """A whole person. `categories` are the scores of emotion categories, independent of each other.
    `valence`, `arousal` and `dominance` are from 1 to 10. `face_id` names the person's face in the
    same image, if it was found."""

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
    """The mood of the group in one image; None, with empty mappings, if no face counts. `weights`
    are by `face_id`. `left_out` has the reason for each face that does not count. `valence` has the
    sums of the "positive", "neutral" and "negative" emotions; the `valence` of a face is one
    number."""

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
    """One image and what was found in it. `id` is None if the image was not stored. `group` is the
    mood of the group if `mood` was asked for. `rotation` is the number of degrees clockwise by
    which the image was turned to find the faces; boxes are in pixels of the image before the turn.

    `persons` is empty unless the pipeline finds persons. `job` and `position_ms` are the job and
    the time of a frame of a video, and None for other images."""

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
        """Request the mood of the group, by the service's default aggregator unless one is named.

        Raises EmotionError, and ValueError if the analysis is not stored.
        """
        if self.id is None or self._ask_mood is None:
            raise ValueError("the service makes moods of stored images, and this one is not stored")
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
    """A face across images, with the image that it is in."""

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
    """The number of faces whose most probable emotion this is, and its mean probability over all
    faces whose model knows it."""

    faces: int
    mean_probability: float


@dataclass(frozen=True)
class Span:
    """One hour, day or model of a summary. `valence` and `arousal` are the means over its faces."""

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
                name: SpanEmotion(its["faces"], its["mean_probability"])
                for name, its in document["emotions"].items()
            },
            valence=document.get("valence"),
            arousal=document.get("arousal"),
        )


def _box(document: Document) -> tuple[float, float, float, float]:
    return document["x1"], document["y1"], document["x2"], document["y2"]


def _time(text: str) -> datetime:
    # Python 3.10 cannot read the Z.
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
