"""Schemas of request options.

Each schema validates and documents the options of an endpoint and builds the object that the view
receives.
"""

from dataclasses import dataclass
from typing import Any

from marshmallow import (
    EXCLUDE,
    RAISE,
    Schema,
    ValidationError,
    fields,
    post_load,
    validate,
    validates_schema,
)

from app.api.current import settings
from app.api.numbers import DecimalNumber, WholeNumber
from app.api.presentation import PresentationOptions
from app.api.text_fields import PRINTABLE, FileName, UtcTime
from app.store.records import LONGEST_FILE_NAME, Filters
from app.vision.aggregators import AGGREGATORS, DEFAULT
from app.vision.request import AnalysisOptions
from app.vision.rotation import NONE, ROTATE
from app.vision.types import DetectionOptions

# Validators, limits and fields that several schemas use.
PROBABILITY = validate.Range(0, 1)
MAX_INT = 2**31 - 1
NAME = validate.Length(1, 64)
# Clients may send a path. Only the last component is stored.
FILE_PATH = validate.Length(max=4 * LONGEST_FILE_NAME)
VIEW = fields.String(
    validate=validate.OneOf(["full"]),
    metadata={"description": "`full` returns numbers at full precision, image size and timings"},
)
MOOD = fields.String(
    validate=validate.OneOf(list(AGGREGATORS)),
    metadata={
        "description": "adds the group mood, computed with this aggregator: see "
        "`GET /v1/images/{image_id}/mood`"
    },
)


class Arguments(Schema):
    """Base class of option schemas. Rejects unknown names, so that typos are reported."""

    class Meta:
        unknown = RAISE


@dataclass(frozen=True, slots=True)
class PostedOptions:
    """The options of `POST /v1/images`. `file_name` is for images that are sent without one."""

    options: AnalysisOptions
    file_name: str | None
    presentation: PresentationOptions


class AnalyseArguments(Arguments):
    """Options of `POST /v1/images`."""

    threshold = DecimalNumber(
        load_default=lambda: settings().threshold,
        validate=PROBABILITY,
        metadata={"description": "minimum probability of the emotions in the response"},
    )
    pipeline = fields.String(validate=NAME, metadata={"description": "see `GET /v1/pipelines`"})
    model = fields.String(
        validate=NAME,
        metadata={"description": "a model that the pipeline can use, see `GET /v1/models`"},
    )
    detector = fields.String(validate=NAME, metadata={"description": "see `GET /v1/detectors`"})
    min_face_px = DecimalNumber(
        validate=validate.Range(1, MAX_INT),
        metadata={
            "description": "minimum face size (longer side) in pixels of the image. Larger values "
            "are faster. Default: `min_face_share` (see `GET /v1/detectors`) times the longer side "
            "of the image, or twice `min_face_share` times the shorter side if this is smaller"
        },
    )
    min_confidence = DecimalNumber(
        load_default=0.0,
        validate=PROBABILITY,
        metadata={"description": "minimum `detection_score`. Faces below it are dropped"},
    )
    max_faces = WholeNumber(
        validate=validate.Range(1, MAX_INT),
        metadata={"description": "maximum number of faces. The smallest faces are dropped"},
    )
    rotate = fields.String(
        load_default=NONE,
        validate=validate.OneOf(ROTATE),
        metadata={
            "description": "with `auto`, an image without a detected face is rotated by 90, 180 "
            "and 270 degrees, and the rotation with the largest sum of detection scores is used. "
            "`view=full` shows it as `rotation`. Boxes are in pixels of the image before this "
            "rotation"
        },
    )
    file_name = fields.String(
        validate=FILE_PATH,
        metadata={"description": "file name to store if the image is sent without one or by URL"},
    )
    view = VIEW
    mood = MOOD
    store = fields.Boolean(
        load_default=True,
        metadata={"description": "`false` analyses the image without storing anything"},
    )

    @post_load
    def make_options(self, data: dict[str, Any], **_: Any) -> PostedOptions:
        options = AnalysisOptions(
            pipeline=data.get("pipeline"),
            model=data.get("model"),
            detector=data.get("detector"),
            detection=DetectionOptions(
                **{name: data[name] for name in DetectionOptions.__slots__ if name in data}
            ),
            threshold=data["threshold"],
            store=data["store"],
        )
        presentation = PresentationOptions(full="view" in data, mood=data.get("mood"))
        return PostedOptions(options, data.get("file_name"), presentation)


class ViewArguments(Arguments):
    """Options that choose how stored faces are shown."""

    threshold = DecimalNumber(
        validate=PROBABILITY,
        metadata={"description": "replaces the threshold that is stored with each image"},
    )
    view = VIEW

    @post_load
    def make_request(self, data: dict[str, Any], **_: Any) -> Any:
        return _presentation(data)


class ImageArguments(ViewArguments):
    """Options of `GET /v1/images/{image_id}`."""

    mood = MOOD


@dataclass(frozen=True, slots=True)
class MoodRequest:
    aggregator: str
    min_face_px: float
    min_confidence: float


class MoodArguments(Arguments):
    """Options of `GET /v1/images/{image_id}/mood`."""

    aggregator = fields.String(
        load_default=DEFAULT,
        validate=validate.OneOf(list(AGGREGATORS)),
        metadata={"description": "method that combines the distributions of the faces"},
    )
    min_face_px = DecimalNumber(
        load_default=0.0,
        validate=validate.Range(0, MAX_INT),
        metadata={"description": "excludes faces whose longer side has fewer pixels"},
    )
    min_confidence = DecimalNumber(
        load_default=0.0,
        validate=PROBABILITY,
        metadata={
            "description": "excludes faces with a lower `detection_score`. Faces without a score "
            "are not excluded"
        },
    )

    @post_load
    def make_request(self, data: dict[str, Any], **_: Any) -> MoodRequest:
        return MoodRequest(**data)


class FilterArguments(Arguments):
    """Filters of stored images and faces."""

    emotion = fields.String(
        validate=[NAME, PRINTABLE], metadata={"description": "a face's most probable emotion"}
    )
    min_probability = DecimalNumber(
        validate=PROBABILITY,
        metadata={
            "description": "minimum probability of `emotion`, or of any emotion if `emotion` is "
            "not given"
        },
    )
    file_name = FileName(validate=[validate.Length(1, 4 * LONGEST_FILE_NAME), PRINTABLE])
    model = fields.String(validate=[NAME, PRINTABLE])
    since = UtcTime(metadata={"description": "RFC 3339 with a time zone, inclusive"})
    until = UtcTime(metadata={"description": "RFC 3339 with a time zone, exclusive"})
    min_faces = WholeNumber(validate=validate.Range(0, MAX_INT))


@dataclass(frozen=True, slots=True)
class PageRequest:
    filters: Filters
    presentation: PresentationOptions
    size: int
    cursor: str | None


class PageArguments(FilterArguments, ViewArguments):
    """Options of `GET /v1/faces`, and of `GET /v1/images` without `mood`."""

    page_size = WholeNumber(load_default=50, validate=validate.Range(1, 200))
    cursor = fields.String(
        validate=validate.Length(1, 200),
        metadata={"description": "`next_cursor` of the previous page"},
    )

    @post_load
    def make_request(self, data: dict[str, Any], **_: Any) -> PageRequest:
        return PageRequest(
            filters=_filters(data),
            presentation=_presentation(data),
            size=data["page_size"],
            cursor=data.get("cursor"),
        )


class ImagePageArguments(PageArguments):
    """Options of `GET /v1/images`."""

    mood = MOOD


@dataclass(frozen=True, slots=True)
class SummaryRequest:
    filters: Filters
    by: str
    mood: str | None


class SummaryArguments(FilterArguments):
    """Options of `GET /v1/summary`."""

    by = fields.String(
        load_default="day",
        validate=validate.OneOf(["hour", "day", "model"]),
        metadata={"description": "hours and days are UTC"},
    )
    mood = fields.String(
        validate=validate.OneOf(list(AGGREGATORS)),
        metadata={
            "description": "adds the mean mood of the images of each span, computed with this "
            "aggregator"
        },
    )

    @post_load
    def make_request(self, data: dict[str, Any], **_: Any) -> SummaryRequest:
        return SummaryRequest(filters=_filters(data), by=data["by"], mood=data.get("mood"))


class ErasureArguments(FilterArguments):
    """Filters of `DELETE /v1/images`. At least one is required."""

    @validates_schema
    def need_a_filter(self, data: dict[str, Any], **_: Any) -> None:
        if not data:
            raise ValidationError("at least one filter is required", "filters")

    @post_load
    def make_filters(self, data: dict[str, Any], **_: Any) -> Filters:
        return _filters(data)


class LegacyArguments(Schema):
    """The options of the original client. Other keys of the body are ignored.

    app.api.request_images reads the image.
    """

    class Meta:
        unknown = EXCLUDE

    threshold = DecimalNumber(load_default=lambda: settings().threshold, validate=PROBABILITY)
    file_name = fields.String(validate=FILE_PATH)


def _presentation(data: dict[str, Any]) -> PresentationOptions:
    return PresentationOptions(data.get("threshold"), full="view" in data, mood=data.get("mood"))


def _filters(data: dict[str, Any]) -> Filters:
    return Filters(**{name: data[name] for name in Filters.__slots__ if name in data})
