"""The JSON of moods and of summaries over time."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from marshmallow import fields, missing

from app.api.response_schema import ResponseSchema, computed
from app.store.records import Span
from app.vision.circumplex import Affect, mean_affect
from app.vision.mood import OverallMood

MEAN = {
    "minimum": -1,
    "maximum": 1,
    "description": "mean over the faces that have a value; null if no face has one",
}
_MEAN_DIGITS = 4


class WeighedFaceSchema(ResponseSchema):
    """A face that is part of a mood."""

    face_id = computed(fields.Integer(required=True), lambda it: it.number)
    weight = fields.Float(required=True, metadata={"description": "weight of the face in the mood"})
    dominant = fields.String(required=True)


class LeftOutSchema(ResponseSchema):
    """A face that a filter excluded from a mood."""

    face_id = computed(fields.Integer(required=True), lambda it: it.number)
    reason = fields.String(
        required=True,
        metadata={
            "description": "name of the filter that excluded the face",
            "example": "min_face_px",
        },
    )


class CommonMoodSchema(ResponseSchema):
    """The keys that the mood of an image and the mood of a span have in common."""

    mood = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "the most probable emotion; null if no face passes the filters"},
    )
    distribution = fields.Dict(
        fields.String(), fields.Float(), required=True, metadata={"description": "sums to 1"}
    )
    agreement = fields.Float(
        required=True,
        allow_none=True,
        metadata={
            "description": "1 − entropy / ln(number of emotions) of the unweighted mean. 1 means "
            "that all faces show the same emotion with certainty"
        },
    )
    valence = fields.Dict(
        fields.String(),
        fields.Float(),
        required=True,
        metadata={
            "description": "sums of `distribution`: happiness is positive; neutral and surprise "
            "are neutral; sadness, anger, disgust, fear and contempt are negative. Other emotions "
            "are not included. The `valence` of a face is different: it is one number",
            "example": {"positive": 0.7, "neutral": 0.2, "negative": 0.1},
        },
    )


class MoodSchema(CommonMoodSchema):
    """The document of a `Mood`."""

    aggregator = fields.String(required=True)
    shares = fields.Dict(
        fields.String(),
        fields.Float(),
        required=True,
        metadata={"description": "share of the faces for each most probable emotion"},
    )
    faces = fields.List(fields.Nested(WeighedFaceSchema), required=True)
    left_out = fields.List(fields.Nested(LeftOutSchema), required=True)


class SpanMoodSchema(CommonMoodSchema):
    """The document of an `OverallMood`."""

    images = fields.Integer(
        required=True, metadata={"description": "number of images that have a mood"}
    )
    shares = fields.Dict(
        fields.String(),
        fields.Float(),
        required=True,
        metadata={"description": "share of the images for each mood"},
    )


class EmotionCount(NamedTuple):
    """The values of an emotion in a span."""

    faces: int
    mean_probability: float


@dataclass
class ShownSpan:
    """A span. `mood` is None if the request did not ask for moods."""

    span: Span
    mood: OverallMood | None = None

    @property
    def emotions(self) -> dict[str, EmotionCount]:
        return {
            emotion: EmotionCount(self.span.dominant.get(emotion, 0), round(mean, _MEAN_DIGITS))
            for emotion, mean in self.span.mean_probability.items()
        }

    @cached_property
    def affect(self) -> Affect | None:
        return mean_affect(self.span.sums.values())

    @property
    def valence(self) -> float | None:
        return None if self.affect is None else _rounded(self.affect.valence)

    @property
    def arousal(self) -> float | None:
        return None if self.affect is None else _rounded(self.affect.arousal)


def _rounded(mean: float) -> float:
    return round(mean, _MEAN_DIGITS) + 0.0  # turns -0.0 into 0.0


class SpanEmotionSchema(ResponseSchema):
    """The document of an `EmotionCount`."""

    faces = fields.Integer(
        required=True,
        metadata={"description": "number of faces with this most probable emotion"},
    )
    mean_probability = fields.Float(required=True)


class SpanSchema(ResponseSchema):
    """The document of a `ShownSpan`."""

    span = computed(fields.String(required=True), lambda it: it.span.span)
    images = computed(fields.Integer(required=True), lambda it: it.span.images)
    faces = computed(fields.Integer(required=True), lambda it: it.span.faces)
    emotions = fields.Dict(fields.String(), fields.Nested(SpanEmotionSchema), required=True)
    valence = fields.Float(required=True, allow_none=True, metadata=MEAN)
    arousal = fields.Float(required=True, allow_none=True, metadata=MEAN)
    mood = computed(
        fields.Nested(SpanMoodSchema, metadata={"description": "with `mood` only"}),
        lambda it: missing if it.mood is None else it.mood,
    )


@dataclass(frozen=True)
class ShownSummary:
    """The spans of a summary."""

    by: str
    spans: list[ShownSpan]


class SummarySchema(ResponseSchema):
    """The document of a `ShownSummary`."""

    by = fields.String(required=True)
    spans = fields.List(fields.Nested(SpanSchema), required=True)
