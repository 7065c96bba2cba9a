"""What goes in and out: one declaration validates, serialises and documents."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import request
from marshmallow import (
    EXCLUDE,
    INCLUDE,
    RAISE,
    Schema,
    ValidationError,
    fields,
    post_load,
    pre_load,
    validate,
    validates_schema,
)

from app.analyse import Options
from app.api.current import settings
from app.api.documents import View
from app.api.pictures import MAX_FILE_NAME
from app.api.problems import ProblemSchema
from app.store.queries import Filters

PROBABILITY = validate.Range(0, 1)
BIGGEST_INT = 2**31 - 1
BIGGEST_ID = 2**63 - 1
NAME = validate.Length(1, 64)
# No stored name holds anything else, and databases choke on some of it (NUL).
PRINTABLE = validate.Regexp(r"^[^\x00-\x1f\x7f]*$", error="must be printable text")
LONG_NAME = validate.Length(max=4 * MAX_FILE_NAME)  # may be a path; its last part is kept
VIEW = fields.String(
    validate=validate.OneOf(["full"]),
    metadata={"description": "`full` answers with numbers at full precision, sizes and timings"},
)
FULL_ONLY = {"description": "`view=full` only"}


def either(usual: str | dict[str, str], full: str) -> dict[str, Any]:
    """Says in the OpenAPI document that `view` chooses between two forms."""
    forms = [form if isinstance(form, dict) else _reference(form) for form in (usual, full)]
    return {"oneOf": forms, "description": f"{full} with `view=full`"}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


# ---------------------------------------------------------------- requests


class Arguments(Schema):
    """Unknown names are refused: a misspelt option must not pass in silence. An empty value
    counts as not given, as HTML forms send it."""

    class Meta:
        unknown = RAISE

    @pre_load
    def drop_empty(self, data: Any, **_: Any) -> dict[str, Any]:
        return {key: value for key, value in data.items() if value not in ("", None)}


class UtcTime(fields.AwareDateTime):
    """A time with a zone, as UTC. Years that UTC does not reach (9999 in the west) are refused."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(format="iso", **kwargs)

    def _deserialize(self, *args: Any, **kwargs: Any) -> datetime:
        try:
            return super()._deserialize(*args, **kwargs).astimezone(UTC)
        except OverflowError as error:
            raise self.make_error("invalid", input=args[0], obj_type=self.OBJ_TYPE) from error


@dataclass(frozen=True, slots=True)
class AnalyseRequest:
    options: Options
    file_name: str | None
    full: bool


class AnalyseArguments(Arguments):
    threshold = fields.Float(
        load_default=lambda: settings().threshold,
        validate=PROBABILITY,
        metadata={"description": "probability from which on an emotion is shown"},
    )
    model = fields.String(validate=NAME, metadata={"description": "see `GET /v1/models`"})
    detector = fields.String(validate=NAME, metadata={"description": "see `GET /v1/detectors`"})
    file_name = fields.String(
        validate=LONG_NAME,
        metadata={"description": "name to keep, where the picture comes without one"},
    )
    view = VIEW
    store = fields.Boolean(
        load_default=True,
        metadata={"description": "`false` analyses without keeping anything"},
    )

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> AnalyseRequest:
        options = Options(
            threshold=data["threshold"],
            model=data.get("model"),
            detector=data.get("detector"),
            store=data["store"],
        )
        return AnalyseRequest(options, data.get("file_name"), full="view" in data)


class MultipartBody(Schema):
    """For the OpenAPI document only: pictures.py reads the pictures of a request."""

    class Meta:
        unknown = INCLUDE  # the options

    image = fields.List(
        fields.String(metadata={"format": "binary"}),
        required=True,
        metadata={"description": "one or more picture files"},
    )


class JsonBody(Schema):
    """For the OpenAPI document only, as above."""

    class Meta:
        unknown = INCLUDE

    image = fields.String(
        required=True,
        metadata={
            "format": "byte",
            "description": "base64 of a picture file, or a data URI with it",
        },
    )
    file_name = fields.String(metadata={"example": "photo.jpg"})


class ViewArguments(Arguments):
    threshold = fields.Float(
        validate=PROBABILITY,
        metadata={"description": "applied to what is stored, in place of each image's own"},
    )
    view = VIEW

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Any:
        return View(threshold=data.get("threshold"), full="view" in data)


class FilterArguments(Arguments):
    emotion = fields.String(
        validate=[NAME, PRINTABLE], metadata={"description": "a face's most probable emotion"}
    )
    min_probability = fields.Float(
        validate=PROBABILITY,
        metadata={"description": "of `emotion`, or of any where that is not given"},
    )
    file_name = fields.String(validate=[validate.Length(1, MAX_FILE_NAME), PRINTABLE])
    model = fields.String(validate=[NAME, PRINTABLE])
    since = UtcTime(metadata={"description": "RFC 3339 with a time zone, inclusive"})
    until = UtcTime(metadata={"description": "RFC 3339 with a time zone, exclusive"})
    min_faces = fields.Integer(validate=validate.Range(0, BIGGEST_INT))


@dataclass(frozen=True, slots=True)
class PageRequest:
    filters: Filters
    view: View
    size: int
    cursor: str | None


class PageArguments(FilterArguments, ViewArguments):
    page_size = fields.Integer(load_default=50, validate=validate.Range(1, 200))
    cursor = fields.String(
        validate=validate.Length(1, 200),
        metadata={"description": "`next_cursor` of the page before"},
    )

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> PageRequest:
        return PageRequest(
            filters=_filters(data),
            view=View(threshold=data.get("threshold"), full="view" in data),
            size=data["page_size"],
            cursor=data.get("cursor"),
        )


@dataclass(frozen=True, slots=True)
class SummaryRequest:
    filters: Filters
    by: str


class SummaryArguments(FilterArguments):
    by = fields.String(
        load_default="day",
        validate=validate.OneOf(["hour", "day", "model"]),
        metadata={"description": "hours and days are UTC"},
    )

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> SummaryRequest:
        return SummaryRequest(filters=_filters(data), by=data["by"])


class ErasureArguments(FilterArguments):
    @validates_schema
    def need_a_filter(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            raise ValidationError("a filter is required, to erase nothing by mistake", "filters")

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Filters:
        return _filters(data)


class LegacyArguments(Schema):
    """The original client's options; pictures.py reads its picture. What else the body may hold
    is not looked at."""

    class Meta:
        unknown = EXCLUDE

    threshold = fields.Float(load_default=lambda: settings().threshold, validate=PROBABILITY)
    file_name = fields.String(validate=LONG_NAME)


def _filters(data: dict[str, Any]) -> Filters:
    return Filters(**{name: data[name] for name in Filters.__slots__ if name in data})


def link_to_next(cursor: str | None) -> dict[str, str]:
    """The `Link` header (RFC 8288) of a page: the same request with the next cursor."""
    if cursor is None:
        return {}
    arguments = request.args.to_dict() | {"cursor": cursor}
    return {"Link": f'<{request.path}?{urlencode(arguments)}>; rel="next"'}


# ---------------------------------------------------------------- answers


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
    timings_ms = fields.Dict(
        fields.String(),
        fields.Float(),
        metadata={"description": "`view=full` only; `store` is known to the answer of POST alone"},
    )
    faces = fields.List(fields.Raw(metadata=either("Face", "FullFace")), required=True)


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


class SummarySchema(Schema):
    by = fields.String(required=True)
    spans = fields.List(fields.Nested(SpanSchema), required=True)


class ModelSchema(Schema):
    name = fields.String(required=True)
    ready = fields.Boolean(required=True)
    default = fields.Boolean(required=True)
    problem = fields.String(metadata={"description": "why it is not ready"})
    card = fields.Dict(metadata={"description": "the whole card, where it is ready"})


class ModelsSchema(Schema):
    models = fields.List(fields.Nested(ModelSchema), required=True)


class DetectorSchema(Schema):
    name = fields.String(required=True)
    ready = fields.Boolean(required=True)
    default = fields.Boolean(required=True)
    description = fields.String(required=True)


class DetectorsSchema(Schema):
    detectors = fields.List(fields.Nested(DetectorSchema), required=True)


class StateSchema(Schema):
    status = fields.String(required=True)


class LegacySchema(ImageSchema):
    message = fields.String(required=True)
