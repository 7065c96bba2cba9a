"""The JSON of images. tests/contracts/ checks the default form, which existing clients parse.

A view returns a `ShownImage` or a `ShownPage`, and a schema turns it into JSON. To add a key, add a
field to the schema.
"""

from dataclasses import dataclass
from typing import Any

from marshmallow import fields, missing, validate

from app.api.face_documents import (
    TIME,
    ShownFace,
    default_or_full,
    face_schema,
    next_cursor,
    time_text,
)
from app.api.mood_documents import MoodSchema
from app.api.presentation import PresentationOptions
from app.api.problems import ProblemSchema
from app.api.response_schema import AnyField, Getter, ResponseSchema, computed
from app.vision.mood import mood_of
from app.vision.types import Analysis


@dataclass
class ShownImage:
    """An analysis with the options to show it."""

    analysis: Analysis
    presentation: PresentationOptions

    @property
    def threshold(self) -> float:
        return self.presentation.threshold_of(self.analysis)

    @property
    def faces(self) -> list[dict[str, Any]]:
        threshold, serialize = self.threshold, face_schema(self.presentation).serialize
        return [
            serialize(ShownFace(number, face, threshold))
            for number, face in enumerate(self.analysis.faces, start=1)
        ]


def full_only(field: AnyField, getter: Getter) -> AnyField:
    """Restrict a field of an image to `view=full`. `getter` returns the value of the field."""
    text = field.metadata.get("description")
    description = "`view=full` only" + (f": {text}" if text else "")
    field.metadata = {**field.metadata, "description": description}
    return computed(field, lambda it: getter(it) if it.presentation.full else missing)


class ModelRefSchema(ResponseSchema):
    """The model of an image in the full form."""

    name = fields.String(required=True)
    version = fields.String(required=True)
    sha256 = fields.String(required=True)


def _model(it: ShownImage) -> Any:
    model = it.analysis.model
    return ModelRefSchema.serialize(model) if it.presentation.full else model.name


def _mood(it: ShownImage) -> Any:
    return (
        missing
        if it.presentation.mood is None
        else mood_of(it.analysis.faces, it.presentation.mood)
    )


class ImageSchema(ResponseSchema):
    """An image. The default form has no keys that are described as "`view=full` only"."""

    id = computed(
        fields.Integer(metadata={"description": "absent with `store=false`"}),
        lambda it: missing if it.analysis.id is None else it.analysis.id,
    )
    file_name = computed(fields.String(required=True), lambda it: it.analysis.file_name)
    threshold = fields.Float(required=True)
    created_at = computed(
        fields.String(required=True, metadata=TIME), lambda it: time_text(it.analysis)
    )
    model = computed(
        fields.Raw(required=True, metadata=default_or_full({"type": "string"}, "ModelRef")), _model
    )
    detector = computed(fields.String(required=True), lambda it: it.analysis.detector)
    width = full_only(fields.Integer(), lambda it: it.analysis.width)
    height = full_only(fields.Integer(), lambda it: it.analysis.height)
    dropped = full_only(
        fields.Dict(
            fields.String(),
            fields.Integer(),
            metadata={
                "description": "number of faces that each option dropped",
                "example": {"min_face_px": 2, "min_confidence": 0, "max_faces": 0},
            },
        ),
        lambda it: it.analysis.dropped,
    )
    rotation = full_only(
        fields.Integer(
            validate=validate.OneOf([0, 90, 180, 270]),
            metadata={
                "description": "clockwise rotation in degrees that `rotate=auto` applied before "
                "detection. Boxes are in pixels of the image before this rotation"
            },
        ),
        lambda it: it.analysis.rotation,
    )
    timings_ms = full_only(
        fields.Dict(
            fields.String(),
            fields.Float(),
            metadata={
                "description": "durations in ms. Only the response to POST has the key `store`"
            },
        ),
        lambda it: it.analysis.timings_ms,
    )
    faces = fields.List(fields.Raw(metadata=default_or_full("Face", "FullFace")), required=True)
    mood = computed(fields.Nested(MoodSchema, metadata={"description": "with `mood` only"}), _mood)


class ItemProblemSchema(ProblemSchema):
    """The problem document of a failed image of a request with several images."""

    index = fields.Integer(
        required=True, metadata={"description": "position of the image in the request, from 0"}
    )
    file_name = fields.String(required=True)


@dataclass(frozen=True)
class Batch:
    """The results of a request with several images, and the problem documents of failed images."""

    images: list[ShownImage]
    errors: list[dict[str, Any]]


class BatchSchema(ResponseSchema):
    """The response to a request with several images."""

    images = fields.List(fields.Nested(ImageSchema), required=True)
    errors = fields.List(fields.Nested(ItemProblemSchema), required=True)


class ImagePageSchema(ResponseSchema):
    """A page of images."""

    images = computed(
        fields.List(fields.Nested(ImageSchema), required=True),
        lambda it: [ShownImage(each, it.presentation) for each in it.page.items],
    )
    next_cursor = computed(fields.String(required=True, allow_none=True), next_cursor)


class ErasureSchema(ResponseSchema):
    """The document of a number of erased images."""

    erased = computed(
        fields.Integer(required=True, metadata={"description": "number of images"}), int
    )


class LegacySchema(ImageSchema):
    """The response to the original client: an image with a message."""

    message = computed(fields.String(required=True), lambda _: "image received")


def image_document(analysis: Analysis, presentation: PresentationOptions) -> dict[str, Any]:
    """Return the JSON object of an image in the form that `presentation` selects."""
    return ImageSchema.serialize(ShownImage(analysis, presentation))
