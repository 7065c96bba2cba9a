"""What the service answers. Members that are newer than this package are passed over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypedDict

Document = Mapping[str, Any]


class Options(TypedDict, total=False):
    """How an image is analysed. The service's defaults apply to options that are left out or None.

    `detector="none"` takes the whole image as one face. `rotate="auto"` turns an image in which no
    face is found, for images that lie on their side. `mood` is the aggregator for the mood of the
    group, such as `quality`.
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
    """`box_xyxy` is in pixels of the upright picture, `emotions` the probability of each emotion
    that the model knows, `face_id` counts from 1 within the picture. `detection_score` is the
    probability that it is a face, None where the detector gives none. `valence` and `arousal` say
    how pleasant and how excited the expression is, from -1 to 1; None for a model with emotions
    that have no published coordinates."""

    face_id: int
    box_xyxy: tuple[float, float, float, float]
    dominant: str
    emotions: Mapping[str, float]
    detection_score: float | None = None
    valence: float | None = None
    arousal: float | None = None

    def shown(self, threshold: float) -> dict[str, float]:
        """Return the emotions whose probability, rounded to 2 decimals, is at least `threshold`,
        with that rounded probability: the same keys and values as the service's documented JSON.
        """
        rounded = {name: round(value, 2) for name, value in self.emotions.items()}
        return {name: value for name, value in rounded.items() if value >= threshold}

    @classmethod
    def read(cls, document: Document) -> Face:
        box = document["box"]
        return cls(
            face_id=document["face_id"],
            box_xyxy=(box["x1"], box["y1"], box["x2"], box["y2"]),
            dominant=document["dominant"],
            emotions=dict(document["emotions"]),
            detection_score=document.get("detection_score"),
            valence=document.get("valence"),
            arousal=document.get("arousal"),
        )


@dataclass(frozen=True)
class Mood:
    """The mood of the group in one image: None, with nothing in the mappings, where no face is
    usable. `weights` are by `face_id`, `left_out` says of each other face why it does not count.
    `valence` has the sums of the "positive", "neutral" and "negative" emotions; the `valence` of a
    face is one number."""

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
    """One image and what was found in it. `id` is None where it was not stored, `group` is the mood
    of its group where that was asked for. `rotation` is by how many degrees clockwise the image was
    turned to find the faces; boxes are in pixels of the image before the turn."""

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
    _ask_mood: Callable[..., Mood] | None = field(default=None, repr=False, compare=False)

    def mood(
        self, aggregator: str | None = None, *, min_face_px: float = 0, min_confidence: float = 0
    ) -> Mood:
        """The mood of its group, by the service's default aggregator unless named: asked of the
        service, which needs no pixels for it. Raises EmotionError; ValueError where the analysis is
        not stored."""
        if self.id is None or self._ask_mood is None:
            raise ValueError("the mood is made of what is stored, and this analysis is not")
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
            _ask_mood=ask_mood,
        )


@dataclass(frozen=True)
class Annotated:
    """The file of a picture with boxes and labels. `image_id` is None where it was not stored."""

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
    """`faces` show it most; `mean_probability` is over all faces whose model knows it."""

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


@dataclass(frozen=True)
class Model:
    """A model that requests can name. `card` describes its labels, accuracy, licence and intended
    use. A model that cannot be used has an empty card, and `problem` says why."""

    name: str
    kind: str
    ready: bool
    default: bool
    card: Mapping[str, Any]
    problem: str | None = None

    @classmethod
    def read(cls, document: Document) -> Model:
        return cls(
            name=document["name"],
            kind=document["kind"],
            ready=document["ready"],
            default=document["default"],
            card=dict(document.get("card", {})),
            problem=document.get("problem"),
        )


@dataclass(frozen=True)
class Detector:
    """A face detector that requests can name. `min_face_share`: the smallest face that it looks
    for by default, as a share of the image's longer side; in images more than twice as long as
    wide, twice that share of the shorter side. `problem` says why it is not ready."""

    name: str
    ready: bool
    default: bool
    description: str
    min_face_share: float | None = None
    problem: str | None = None

    @classmethod
    def read(cls, document: Document) -> Detector:
        return cls(
            name=document["name"],
            ready=document["ready"],
            default=document["default"],
            description=document["description"],
            min_face_share=document.get("min_face_share"),
            problem=document.get("problem"),
        )


@dataclass(frozen=True)
class Pipeline:
    """A pipeline that requests can name. `models` is the kind of model that it uses."""

    name: str
    default: bool
    description: str
    models: str

    @classmethod
    def read(cls, document: Document) -> Pipeline:
        return cls(
            name=document["name"],
            default=document["default"],
            description=document["description"],
            models=document["models"],
        )


def _time(text: str) -> datetime:
    # Python 3.10 does not read the Z.
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
