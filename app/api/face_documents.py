"""The JSON and the CSV of faces. tests/contracts/ checks the form that clients parse.

To add a key to the full form and a column to the CSV, add a field to `FullFaceSchema`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from marshmallow import INCLUDE, fields, missing

from app.api.presentation import PresentationOptions, ShownPage
from app.api.response_schema import InlineDict, ResponseSchema, computed
from app.store.records import FoundFace
from app.vision.circumplex import Affect, affect_of
from app.vision.types import Analysis, Face

# In the default form, every key of a face that FaceSchema does not declare is an emotion.
EMOTION = {"type": "number", "minimum": 0, "maximum": 1}
VALENCE = {
    "minimum": -1,
    "maximum": 1,
    "description": "pleasantness: the mean of the published coordinates of the emotions (Russell "
    "and Mehrabian 1977), weighted by the probabilities; null if the model has an emotion without "
    "coordinates",
}
AROUSAL = {**VALENCE, "description": "arousal, computed like `valence`"}
TIME = {"format": "date-time"}


@dataclass
class ShownFace:
    """A face of an image. `number` counts from 1 within the image."""

    number: int
    face: Face
    threshold: float

    @cached_property
    def affect(self) -> Affect | None:
        return affect_of(self.face.emotions)


class ShownFoundFace:
    """A face with the image that it belongs to."""

    def __init__(self, found: FoundFace, presentation: PresentationOptions) -> None:
        self.image, self.presentation = found.image, presentation
        self.face = ShownFace(found.number, found.face, presentation.threshold_of(found.image))


def default_or_full(default: str | dict[str, str], full: str) -> dict[str, Any]:
    """Return the OpenAPI metadata of a field with one form by default and another in `view=full`.

    `default` is the name of a component schema, or a schema. `full` is the name of a component
    schema.
    """
    forms = [form if isinstance(form, dict) else _reference(form) for form in (default, full)]
    return {"oneOf": forms, "description": f"{full} with `view=full`"}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def time_text(analysis: Analysis) -> str:
    """Return the time of an analysis as RFC 3339."""
    return analysis.created_at.isoformat().replace("+00:00", "Z")


class BoxSchema(ResponseSchema):
    """The bounding box of a face, in pixels."""

    x1 = fields.Float(required=True)
    y1 = fields.Float(required=True)
    x2 = fields.Float(required=True)
    y2 = fields.Float(required=True)


class FullFaceSchema(ResponseSchema):
    """A face in the full form."""

    face_id = computed(fields.Integer(required=True), lambda it: it.number)
    box = computed(fields.Nested(BoxSchema, required=True), lambda it: it.face.box)
    detection_score = computed(
        fields.Float(
            required=True,
            allow_none=True,
            metadata={"description": "null if the detector gives no scores"},
        ),
        lambda it: it.face.detection_score,
    )
    dominant = computed(fields.String(required=True), lambda it: it.face.dominant)
    emotions = computed(
        fields.Dict(fields.String(), fields.Float(), required=True), lambda it: it.face.emotions
    )
    exclusive = computed(
        fields.Boolean(
            metadata={
                "description": "false if the probabilities are independent of each other, so that "
                "they may not sum to 1; absent otherwise"
            }
        ),
        lambda it: missing if it.face.emotions.exclusive else False,
        json_only=True,
    )
    valence = computed(
        fields.Float(required=True, allow_none=True, metadata=VALENCE),
        lambda it: it.affect and it.affect.valence,
    )
    arousal = computed(
        fields.Float(required=True, allow_none=True, metadata=AROUSAL),
        lambda it: it.affect and it.affect.arousal,
    )


class FaceSchema(ResponseSchema):
    """A face in the default form: `face_id`, `bbox` and each emotion above the threshold."""

    class Meta:
        unknown = INCLUDE
        exclude = ("emotions",)

    face_id = computed(fields.Integer(required=True), lambda it: it.number)
    emotions = computed(InlineDict(), lambda it: it.face.emotions.rounded(it.threshold))
    bbox = computed(
        fields.List(
            fields.String(),
            required=True,
            metadata={
                "description": "x1, y1, x2, y2 in whole pixels of the image after EXIF rotation",
                "example": ["109", "160", "192", "243"],
            },
        ),
        lambda it: [str(round(value)) for value in it.face.box.xyxy],
    )


def face_schema(presentation: PresentationOptions) -> type[ResponseSchema]:
    """Return the schema of a face in the form that `presentation` selects."""
    return FullFaceSchema if presentation.full else FaceSchema


def next_cursor(it: ShownPage[Any]) -> str | None:
    """Return the cursor of the next page, or None for the last page."""
    return it.page.next_cursor


class SourceImageSchema(ResponseSchema):
    """The keys of the image that a face belongs to."""

    image_id = computed(fields.Integer(required=True), lambda it: it.image.id)
    file_name = computed(fields.String(required=True), lambda it: it.image.file_name)
    created_at = computed(
        fields.String(required=True, metadata=TIME), lambda it: time_text(it.image)
    )


class FoundFaceSchema(SourceImageSchema):
    """A face and the image that it belongs to."""

    face = computed(
        fields.Raw(required=True, metadata=default_or_full("Face", "FullFace")),
        lambda it: face_schema(it.presentation).serialize(it.face),
    )


class FaceRowSchema(SourceImageSchema):
    """A row of the CSV: a face and the image that it belongs to."""

    model = computed(fields.String(), lambda it: it.image.model.name)
    detector = computed(fields.String(), lambda it: it.image.detector)
    face = fields.Nested(FullFaceSchema)


class FacePageSchema(ResponseSchema):
    """A page of faces of all images."""

    faces = computed(
        fields.List(fields.Nested(FoundFaceSchema), required=True),
        lambda it: [ShownFoundFace(each, it.presentation) for each in it.page.items],
    )
    next_cursor = computed(fields.String(required=True, allow_none=True), next_cursor)
