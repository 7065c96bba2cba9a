"""What goes out, for the OpenAPI document; documents.py makes it. The contract tests hold the
two together."""

from typing import Any

from marshmallow import INCLUDE, Schema, fields, validate

from app.api.arguments import LegacyArguments
from app.api.problems import ProblemSchema
from app.fetch import MAX_URL

BASE64 = {"format": "byte", "description": "base64 of a picture file, or a data URI with it"}
FULL_ONLY = {"description": "`view=full` only"}
TITLE = {"description": "short name to show to people"}
DESCRIPTION = {"description": "one or two sentences that help people to choose"}
# The other keys of a face in the documented form: each is an emotion with its probability.
EMOTION = {"type": "number", "minimum": 0, "maximum": 1}
VALENCE = {
    "minimum": -1,
    "maximum": 1,
    "description": "how pleasant the expression is: the mean of published coordinates of the "
    "emotions (Russell and Mehrabian 1977), weighted by their probabilities; null if the model "
    "knows an emotion without coordinates",
}
AROUSAL = {**VALENCE, "description": "how excited the expression is; otherwise as `valence`"}
MEAN = {
    "minimum": -1,
    "maximum": 1,
    "description": "mean over the faces that have it; null if there are none",
}


def either(usual: str | dict[str, str], full: str) -> dict[str, Any]:
    """Says in the OpenAPI document that `view` chooses between two forms."""
    forms = [form if isinstance(form, dict) else _reference(form) for form in (usual, full)]
    return {"oneOf": forms, "description": f"{full} with `view=full`"}


def binary(media_type: str) -> dict[str, Any]:
    """The OpenAPI schema of a body of bytes. `contentMediaType` is that of OpenAPI 3.1; most
    generators of clients only know `format` of 3.0."""
    return {"schema": {"type": "string", "format": "binary", "contentMediaType": media_type}}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


class MultipartBody(Schema):
    """For the OpenAPI document only: pictures.py reads the pictures of a request. The options are
    described once, as query parameters: Swagger UI fills in each field of a form that it knows."""

    class Meta:
        unknown = INCLUDE

    image = fields.List(
        fields.String(metadata={"format": "binary"}),
        required=True,
        validate=validate.Length(min=1),
        metadata={"description": "one or more picture files"},
    )


class JsonBody(Schema):
    """For the OpenAPI document only, as above."""

    class Meta:
        unknown = INCLUDE

    image = fields.String(required=True, metadata=BASE64)


class LegacyBody(LegacyArguments):
    """For the OpenAPI document only, as above."""

    class Meta:
        unknown = INCLUDE  # is not looked at

    image = fields.String(required=True, metadata=BASE64)


class UrlBody(Schema):
    """For the OpenAPI document only, as above."""

    class Meta:
        unknown = INCLUDE

    url = fields.String(
        required=True,
        metadata={
            "format": "uri",
            "maxLength": MAX_URL,
            "example": "https://images.example.com/photo.jpg",
            "description": "of a picture file at a host that the operator allows, for otherwise, "
            "and where none is allowed, it is refused by 422; a host that does not give the file "
            "is told by 502 or 504",
        },
    )
    file_name = fields.String(
        metadata={"description": "name to keep; the last part of the URL's path if not given"}
    )


class BoxSchema(Schema):
    x1 = fields.Float(required=True)
    y1 = fields.Float(required=True)
    x2 = fields.Float(required=True)
    y2 = fields.Float(required=True)


class FullFaceSchema(Schema):
    face_id = fields.Integer(required=True)
    box = fields.Nested(BoxSchema, required=True)
    detection_score = fields.Float(
        required=True,
        allow_none=True,
        metadata={"description": "null where the detector does not score its boxes"},
    )
    dominant = fields.String(required=True)
    emotions = fields.Dict(fields.String(), fields.Float(), required=True)
    valence = fields.Float(required=True, allow_none=True, metadata=VALENCE)
    arousal = fields.Float(required=True, allow_none=True, metadata=AROUSAL)


class ModelRefSchema(Schema):
    name = fields.String(required=True)
    version = fields.String(required=True)
    sha256 = fields.String(required=True)


class FaceSchema(Schema):
    """The documented face: these two keys, and one for each emotion at or over the threshold."""

    class Meta:
        unknown = INCLUDE

    face_id = fields.Integer(required=True)
    bbox = fields.List(
        fields.String(),
        required=True,
        metadata={
            "description": "x1, y1, x2, y2 in whole pixels of the upright picture",
            "example": ["109", "160", "192", "243"],
        },
    )


class WeighedFaceSchema(Schema):
    face_id = fields.Integer(required=True)
    weight = fields.Float(required=True, metadata={"description": "its share in the answer"})
    dominant = fields.String(required=True)


class LeftOutSchema(Schema):
    face_id = fields.Integer(required=True)
    reason = fields.String(
        required=True, metadata={"description": "the filter", "example": "min_face_px"}
    )


class CommonMoodSchema(Schema):
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
            "description": "1 − entropy / ln(emotions) of the plain mean: 1 where all are sure of "
            "the same emotion"
        },
    )
    valence = fields.Dict(
        fields.String(),
        fields.Float(),
        required=True,
        metadata={
            "description": "the distribution's sums: happiness is positive; neutral and surprise "
            "are neutral; sadness, anger, disgust, fear and contempt negative; others are left "
            "out. Not the `valence` of a face, which is one number",
            "example": {"positive": 0.7, "neutral": 0.2, "negative": 0.1},
        },
    )


class MoodSchema(CommonMoodSchema):
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
    images = fields.Integer(required=True, metadata={"description": "that have a mood"})
    shares = fields.Dict(
        fields.String(),
        fields.Float(),
        required=True,
        metadata={"description": "of the images, by their mood"},
    )


class ImageSchema(Schema):
    """The documented image. What is marked so comes with `view=full` only."""

    id = fields.Integer(metadata={"description": "absent after `store=false`"})
    file_name = fields.String(required=True)
    threshold = fields.Float(required=True)
    created_at = fields.String(required=True, metadata={"format": "date-time"})
    model = fields.Raw(required=True, metadata=either({"type": "string"}, "ModelRef"))
    detector = fields.String(required=True)
    width = fields.Integer(metadata=FULL_ONLY)
    height = fields.Integer(metadata=FULL_ONLY)
    dropped = fields.Dict(
        fields.String(),
        fields.Integer(),
        metadata={
            "description": "`view=full` only: faces that were found and not kept, by the option "
            "that they do not fulfil",
            "example": {"min_face_px": 2, "min_confidence": 0, "max_faces": 0},
        },
    )
    rotation = fields.Integer(
        validate=validate.OneOf([0, 90, 180, 270]),
        metadata={
            "description": "`view=full` only: degrees clockwise by which `rotate=auto` turned the "
            "image to find its faces. Boxes are in pixels of the image before the turn"
        },
    )
    timings_ms = fields.Dict(
        fields.String(),
        fields.Float(),
        metadata={"description": "`view=full` only; `store` is known to the answer of POST alone"},
    )
    faces = fields.List(fields.Raw(metadata=either("Face", "FullFace")), required=True)
    mood = fields.Nested(MoodSchema, metadata={"description": "with `mood` only"})


class ItemProblemSchema(ProblemSchema):
    index = fields.Integer(required=True, metadata={"description": "of the part, from 0"})
    file_name = fields.String(required=True)


class BatchSchema(Schema):
    images = fields.List(fields.Nested(ImageSchema), required=True)
    errors = fields.List(fields.Nested(ItemProblemSchema), required=True)


class ImagePageSchema(Schema):
    images = fields.List(fields.Nested(ImageSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class ErasureSchema(Schema):
    erased = fields.Integer(required=True, metadata={"description": "number of images"})


class FoundFaceSchema(Schema):
    image_id = fields.Integer(required=True)
    file_name = fields.String(required=True)
    created_at = fields.String(required=True, metadata={"format": "date-time"})
    face = fields.Raw(required=True, metadata=either("Face", "FullFace"))


class FacePageSchema(Schema):
    faces = fields.List(fields.Nested(FoundFaceSchema), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class SpanEmotionSchema(Schema):
    faces = fields.Integer(
        required=True, metadata={"description": "whose most probable emotion it is"}
    )
    mean_probability = fields.Float(required=True)


class SpanSchema(Schema):
    span = fields.String(required=True)
    images = fields.Integer(required=True)
    faces = fields.Integer(required=True)
    emotions = fields.Dict(fields.String(), fields.Nested(SpanEmotionSchema), required=True)
    valence = fields.Float(required=True, allow_none=True, metadata=MEAN)
    arousal = fields.Float(required=True, allow_none=True, metadata=MEAN)
    mood = fields.Nested(SpanMoodSchema, metadata={"description": "with `mood` only"})


class SummarySchema(Schema):
    by = fields.String(required=True)
    spans = fields.List(fields.Nested(SpanSchema), required=True)


class ModelSchema(Schema):
    name = fields.String(required=True)
    title = fields.String(required=True, metadata=TITLE)
    description = fields.String(required=True, metadata=DESCRIPTION)
    kind = fields.String(
        required=True, metadata={"description": "which pipelines take it", "example": "classifier"}
    )
    ready = fields.Boolean(required=True)
    default = fields.Boolean(required=True, metadata={"description": "of the models of its kind"})
    problem = fields.String(metadata={"description": "why it is not ready"})
    card = fields.Dict(metadata={"description": "the whole card, where it is ready"})


class ModelsSchema(Schema):
    models = fields.List(fields.Nested(ModelSchema), required=True)


class DetectorSchema(Schema):
    name = fields.String(required=True)
    ready = fields.Boolean(required=True)
    default = fields.Boolean(required=True)
    title = fields.String(required=True, metadata=TITLE)
    description = fields.String(required=True, metadata=DESCRIPTION)
    problem = fields.String(metadata={"description": "why it is not ready"})
    min_face_share = fields.Float(
        required=True,
        metadata={
            "description": "sets the smallest face that it looks for unless `min_face_px` is "
            "given: this share of the image's longer side, or twice this share of the shorter side "
            "where that is less"
        },
    )


class DetectorsSchema(Schema):
    detectors = fields.List(fields.Nested(DetectorSchema), required=True)


class PipelineSchema(Schema):
    name = fields.String(required=True)
    default = fields.Boolean(required=True)
    title = fields.String(required=True, metadata=TITLE)
    description = fields.String(required=True, metadata=DESCRIPTION)
    models = fields.String(
        required=True, metadata={"description": "the kind of the models that it takes"}
    )


class PipelinesSchema(Schema):
    pipelines = fields.List(fields.Nested(PipelineSchema), required=True)


class StateSchema(Schema):
    status = fields.String(required=True)


class ReadinessSchema(StateSchema):
    keeps_pictures = fields.Boolean()
    unusable_models = fields.Dict(keys=fields.String(), values=fields.String())


class LegacySchema(ImageSchema):
    message = fields.String(required=True)
