"""The JSON of moods and of summaries over time."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from marshmallow import fields, missing

from app.api.shape import Shape, member
from app.store.records import Span
from app.vision.circumplex import Affect, mean_affect
from app.vision.mood import OverallMood

MEAN = {
    "minimum": -1,
    "maximum": 1,
    "description": "mean over the faces that have it; null if there are none",
}
_DIGITS = 4  # of means in summaries


class WeighedFaceSchema(Shape):
    face_id = member(fields.Integer(required=True), lambda it: it.number)
    weight = fields.Float(required=True, metadata={"description": "its share in the answer"})
    dominant = fields.String(required=True)


class LeftOutSchema(Shape):
    face_id = member(fields.Integer(required=True), lambda it: it.number)
    reason = fields.String(
        required=True, metadata={"description": "the filter", "example": "min_face_px"}
    )


class CommonMoodSchema(Shape):
    mood = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "the most probable emotion; null where no face is usable"},
    )
    distribution = fields.Dict(
        fields.String(), fields.Float(), required=True, metadata={"description": "sums to 1"}
    )
    agreement = fields.Float(
        required=True,
        allow_none=True,
        metadata={
            "description": "1 − entropy / ln(emotions) of the plain mean: 1 where all faces show "
            "the same emotion with certainty"
        },
    )
    valence = fields.Dict(
        fields.String(),
        fields.Float(),
        required=True,
        metadata={
            "description": "the distribution's sums: happiness is positive; neutral and surprise "
            "are neutral; sadness, anger, disgust, fear and contempt are negative; other emotions "
            "are left out. The `valence` of a face is different: it is one number",
            "example": {"positive": 0.7, "neutral": 0.2, "negative": 0.1},
        },
    )


class MoodSchema(CommonMoodSchema):
    """Its item is a `Mood`."""

    aggregator = fields.String(required=True)
    shares = fields.Dict(
        fields.String(),
        fields.Float(),
        required=True,
        metadata={"description": "of the faces, by their most probable emotion"},
    )
    faces = fields.List(fields.Nested(WeighedFaceSchema), required=True)
    left_out = fields.List(fields.Nested(LeftOutSchema), required=True)


class SpanMoodSchema(CommonMoodSchema):
    """Its item is an `OverallMood`."""

    images = fields.Integer(required=True, metadata={"description": "that have a mood"})
    shares = fields.Dict(
        fields.String(),
        fields.Float(),
        required=True,
        metadata={"description": "of the images, by their mood"},
    )


class EmotionCount(NamedTuple):
    faces: int
    mean_probability: float


@dataclass
class ShownSpan:
    """A span, with its mood if that was asked for."""

    span: Span
    mood: OverallMood | None = None

    @property
    def emotions(self) -> dict[str, EmotionCount]:
        return {
            emotion: EmotionCount(self.span.dominant.get(emotion, 0), round(mean, _DIGITS))
            for emotion, mean in self.span.mean_probability.items()
        }

    @cached_property
    def affect(self) -> Affect | None:
        return mean_affect(self.span.sums.values())

    def of_affect(self, name: str) -> float | None:
        # Adding 0.0 turns -0.0 into 0.0.
        return None if self.affect is None else round(getattr(self.affect, name), _DIGITS) + 0.0


class SpanEmotionSchema(Shape):
    faces = fields.Integer(
        required=True, metadata={"description": "whose most probable emotion it is"}
    )
    mean_probability = fields.Float(required=True)


class SpanSchema(Shape):
    span = member(fields.String(required=True), lambda it: it.span.span)
    images = member(fields.Integer(required=True), lambda it: it.span.images)
    faces = member(fields.Integer(required=True), lambda it: it.span.faces)
    emotions = fields.Dict(fields.String(), fields.Nested(SpanEmotionSchema), required=True)
    valence = member(
        fields.Float(required=True, allow_none=True, metadata=MEAN),
        lambda it: it.of_affect("valence"),
    )
    arousal = member(
        fields.Float(required=True, allow_none=True, metadata=MEAN),
        lambda it: it.of_affect("arousal"),
    )
    mood = member(
        fields.Nested(SpanMoodSchema, metadata={"description": "with `mood` only"}),
        lambda it: missing if it.mood is None else it.mood,
    )


@dataclass(frozen=True)
class ShownSummary:
    by: str
    spans: list[ShownSpan]


class SummarySchema(Shape):
    by = fields.String(required=True)
    spans = fields.List(fields.Nested(SpanSchema), required=True)
