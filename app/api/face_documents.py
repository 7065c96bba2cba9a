"""The JSON and the CSV of faces. tests/contracts/ checks the form that clients parse.

To add a key to the full form and a column to the CSV, add a field to `FullFaceSchema`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from marshmallow import INCLUDE, fields, missing

from app.api.shape import Shape, Spread, member
from app.api.view import ShownPage, View
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


class ShownFound:
    """A face with the image that it belongs to."""

    def __init__(self, found: FoundFace, view: View) -> None:
        self.image, self.view = found.image, view
        self.face = ShownFace(found.number, found.face, view.threshold_of(found.image))


def either(documented: str | dict[str, str], full: str) -> dict[str, Any]:
    """Return the OpenAPI metadata of a field with one form by default and another in `view=full`.

    `documented` is the default form. Both are names of component schemas; `documented` can also be
    a schema.
    """
    forms = [form if isinstance(form, dict) else _reference(form) for form in (documented, full)]
    return {"oneOf": forms, "description": f"{full} with `view=full`"}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def time_text(analysis: Analysis) -> str:
    """Return the time of an analysis as RFC 3339."""
    return analysis.created_at.isoformat().replace("+00:00", "Z")


class BoxSchema(Shape):
    """The bounding box of a face, in pixels."""

    x1 = fields.Float(required=True)
    y1 = fields.Float(required=True)
    x2 = fields.Float(required=True)
    y2 = fields.Float(required=True)


class FullFaceSchema(Shape):
    """A face in the full form."""

    face_id = member(fields.Integer(required=True), lambda it: it.number)
    box = member(fields.Nested(BoxSchema, required=True), lambda it: it.face.box)
    detection_score = member(
        fields.Float(
            required=True,
            allow_none=True,
            metadata={"description": "null if the detector gives no scores"},
        ),
        lambda it: it.face.detection_score,
    )
    dominant = member(fields.String(required=True), lambda it: it.face.dominant)
    emotions = member(
        fields.Dict(fields.String(), fields.Float(), required=True), lambda it: it.face.emotions
    )
    exclusive = member(
        fields.Boolean(
            metadata={
                "description": "false if the probabilities are independent of each other, so that "
                "they may not sum to 1; absent otherwise"
            }
        ),
        lambda it: missing if it.face.emotions.exclusive else False,
        json_only=True,
    )
    valence = member(
        fields.Float(required=True, allow_none=True, metadata=VALENCE),
        lambda it: it.affect and it.affect.valence,
    )
    arousal = member(
        fields.Float(required=True, allow_none=True, metadata=AROUSAL),
        lambda it: it.affect and it.affect.arousal,
    )


class FaceSchema(Shape):
    """A face in the default form: `face_id`, `bbox` and each emotion above the threshold."""

    class Meta:
        unknown = INCLUDE
        exclude = ("emotions",)

    face_id = member(fields.Integer(required=True), lambda it: it.number)
    emotions = member(Spread(), lambda it: it.face.emotions.rounded(it.threshold))
    bbox = member(
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


def face_shape(view: View) -> type[Shape]:
    """Return the shape of a face in the form that `view` selects."""
    return FullFaceSchema if view.full else FaceSchema


def next_cursor(it: ShownPage[Any]) -> str | None:
    """Return the cursor of the next page, or None for the last page."""
    return it.page.next_cursor


class OriginSchema(Shape):
    """The keys of the image that a face belongs to."""

    image_id = member(fields.Integer(required=True), lambda it: it.image.id)
    file_name = member(fields.String(required=True), lambda it: it.image.file_name)
    created_at = member(fields.String(required=True, metadata=TIME), lambda it: time_text(it.image))


class FoundFaceSchema(OriginSchema):
    """A face and the image that it belongs to."""

    face = member(
        fields.Raw(required=True, metadata=either("Face", "FullFace")),
        lambda it: face_shape(it.view).document(it.face),
    )


class FaceRowSchema(OriginSchema):
    """A row of the CSV: a face and the image that it belongs to."""

    model = member(fields.String(), lambda it: it.image.model.name)
    detector = member(fields.String(), lambda it: it.image.detector)
    face = fields.Nested(FullFaceSchema)


class FacePageSchema(Shape):
    """A page of faces of all images."""

    faces = member(
        fields.List(fields.Nested(FoundFaceSchema), required=True),
        lambda it: [ShownFound(each, it.view) for each in it.page.items],
    )
    next_cursor = member(fields.String(required=True, allow_none=True), next_cursor)
