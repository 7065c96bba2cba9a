"""What comes in: one declaration validates and documents the options of a request, and makes the
object that a view works with."""

from dataclasses import dataclass
from datetime import UTC, datetime
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
from app.api.file_names import replace_unsafe
from app.api.numbers import DecimalNumber, WholeNumber
from app.api.view import View
from app.store.records import LONGEST_FILE_NAME, Filters, normalized_name
from app.vision.aggregators import AGGREGATORS, DEFAULT
from app.vision.request import AnalysisOptions
from app.vision.rotation import NONE, ROTATE
from app.vision.types import DetectionOptions

PROBABILITY = validate.Range(0, 1)
BIGGEST_INT = 2**31 - 1
NAME = validate.Length(1, 64)
# No stored name holds control characters, and PostgreSQL refuses NUL. In Python `$` also matches
# before a final line break, in the regular expressions of the OpenAPI document it does not.
PRINTABLE = validate.Regexp(r"^[^\x00-\x1f\x7f]*$(?!\n)", error="must be printable text")
LONG_NAME = validate.Length(max=4 * LONGEST_FILE_NAME)  # may be a path; its last part is kept
VIEW = fields.String(
    validate=validate.OneOf(["full"]),
    metadata={"description": "`full` answers with numbers at full precision, sizes and timings"},
)
MOOD = fields.String(
    validate=validate.OneOf(list(AGGREGATORS)),
    metadata={
        "description": "adds the mood of the group, by this aggregator: see "
        "`GET /v1/images/{image_id}/mood`"
    },
)


class Arguments(Schema):
    """Unknown names and empty values are refused: a mistake must not pass in silence."""

    class Meta:
        unknown = RAISE


class UtcTime(fields.AwareDateTime):
    """A time with a zone, as UTC. Years that UTC does not reach (9999 in the west) are refused."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(format="iso", **kwargs)

    def _deserialize(self, *args: Any, **kwargs: Any) -> datetime:
        try:
            return super()._deserialize(*args, **kwargs).astimezone(UTC)
        except OverflowError as error:
            raise self.make_error("invalid", input=args[0], obj_type=self.OBJ_TYPE) from error


class FileName(fields.String):
    """A filter for stored file names, in any Unicode normalization form.

    Characters that are never stored are replaced by U+FFFD, as in stored names. Names of more than
    255 characters in form C are refused.
    """

    def _deserialize(self, *args: Any, **kwargs: Any) -> str:
        # PRINTABLE must run first: validators run after this method, on the replaced characters.
        name = replace_unsafe(PRINTABLE(super()._deserialize(*args, **kwargs)))
        if len(normalized_name(name)) > LONGEST_FILE_NAME:
            raise ValidationError(
                f"stored names have at most {LONGEST_FILE_NAME} characters: longer ones are cut"
            )
        return name


@dataclass(frozen=True, slots=True)
class PostedOptions:
    """The options of `POST /v1/images`; `file_name` is for an image that comes without a name."""

    options: AnalysisOptions
    file_name: str | None
    view: View


class AnalyseArguments(Arguments):
    threshold = DecimalNumber(
        load_default=lambda: settings().threshold,
        validate=PROBABILITY,
        metadata={"description": "probability from which on an emotion is shown"},
    )
    pipeline = fields.String(validate=NAME, metadata={"description": "see `GET /v1/pipelines`"})
    model = fields.String(
        validate=NAME, metadata={"description": "one of the pipeline's, see `GET /v1/models`"}
    )
    detector = fields.String(validate=NAME, metadata={"description": "see `GET /v1/detectors`"})
    min_face_px = DecimalNumber(
        validate=validate.Range(1, BIGGEST_INT),
        metadata={
            "description": "longer side of the smallest face that is looked for, in pixels of the "
            "image. Default: the detector's `min_face_share` of `GET /v1/detectors`, as a share of "
            "the image's longer side, or twice that share of the shorter side where that is less. "
            "A larger value is faster"
        },
    )
    min_confidence = DecimalNumber(
        load_default=0.0,
        validate=PROBABILITY,
        metadata={"description": "least `detection_score` of a face that is kept"},
    )
    max_faces = WholeNumber(
        validate=validate.Range(1, BIGGEST_INT),
        metadata={"description": "how many faces are kept, the largest first"},
    )
    rotate = fields.String(
        load_default=NONE,
        validate=validate.OneOf(ROTATE),
        metadata={
            "description": "`auto` turns an image in which no face is found by 90, 180 and 270 "
            "degrees and uses the turn with the largest sum of detection scores. `rotation` of "
            "`view=full` is that turn. Boxes are in pixels of the image before the turn"
        },
    )
    file_name = fields.String(
        validate=LONG_NAME,
        metadata={"description": "name to keep, where the picture comes without one or by URL"},
    )
    view = VIEW
    mood = MOOD
    store = fields.Boolean(
        load_default=True,
        metadata={"description": "`false` analyses without keeping anything"},
    )

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> PostedOptions:
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
        view = View(full="view" in data, mood=data.get("mood"))
        return PostedOptions(options, data.get("file_name"), view)


class ViewArguments(Arguments):
    threshold = DecimalNumber(
        validate=PROBABILITY,
        metadata={"description": "applied to what is stored, in place of each image's own"},
    )
    view = VIEW

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Any:
        return _view(data)


class ImageArguments(ViewArguments):
    mood = MOOD


@dataclass(frozen=True, slots=True)
class MoodRequest:
    aggregator: str
    min_face_px: float
    min_confidence: float


class MoodArguments(Arguments):
    aggregator = fields.String(
        load_default=DEFAULT,
        validate=validate.OneOf(list(AGGREGATORS)),
        metadata={"description": "how the faces' distributions become one"},
    )
    min_face_px = DecimalNumber(
        load_default=0.0,
        validate=validate.Range(0, BIGGEST_INT),
        metadata={"description": "leaves out faces whose longer side has fewer pixels"},
    )
    min_confidence = DecimalNumber(
        load_default=0.0,
        validate=PROBABILITY,
        metadata={
            "description": "leaves out faces with a smaller `detection_score`; those without one "
            "stay"
        },
    )

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> MoodRequest:
        return MoodRequest(**data)


class FilterArguments(Arguments):
    emotion = fields.String(
        validate=[NAME, PRINTABLE], metadata={"description": "a face's most probable emotion"}
    )
    min_probability = DecimalNumber(
        validate=PROBABILITY,
        metadata={"description": "of `emotion`, or of any where that is not given"},
    )
    file_name = FileName(validate=[validate.Length(1, 4 * LONGEST_FILE_NAME), PRINTABLE])
    model = fields.String(validate=[NAME, PRINTABLE])
    since = UtcTime(metadata={"description": "RFC 3339 with a time zone, inclusive"})
    until = UtcTime(metadata={"description": "RFC 3339 with a time zone, exclusive"})
    min_faces = WholeNumber(validate=validate.Range(0, BIGGEST_INT))


@dataclass(frozen=True, slots=True)
class PageRequest:
    filters: Filters
    view: View
    size: int
    cursor: str | None


class PageArguments(FilterArguments, ViewArguments):
    page_size = WholeNumber(load_default=50, validate=validate.Range(1, 200))
    cursor = fields.String(
        validate=validate.Length(1, 200),
        metadata={"description": "`next_cursor` of the page before"},
    )

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> PageRequest:
        return PageRequest(
            filters=_filters(data),
            view=_view(data),
            size=data["page_size"],
            cursor=data.get("cursor"),
        )


class ImagePageArguments(PageArguments):
    mood = MOOD


@dataclass(frozen=True, slots=True)
class SummaryRequest:
    filters: Filters
    by: str
    mood: str | None


class SummaryArguments(FilterArguments):
    by = fields.String(
        load_default="day",
        validate=validate.OneOf(["hour", "day", "model"]),
        metadata={"description": "hours and days are UTC"},
    )
    mood = fields.String(
        validate=validate.OneOf(list(AGGREGATORS)),
        metadata={
            "description": "adds to each span the mean of its images' moods by this aggregator"
        },
    )

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> SummaryRequest:
        return SummaryRequest(filters=_filters(data), by=data["by"], mood=data.get("mood"))


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

    threshold = DecimalNumber(load_default=lambda: settings().threshold, validate=PROBABILITY)
    file_name = fields.String(validate=LONG_NAME)


def _view(data: dict[str, Any]) -> View:
    return View(data.get("threshold"), full="view" in data, mood=data.get("mood"))


def _filters(data: dict[str, Any]) -> Filters:
    return Filters(**{name: data[name] for name in Filters.__slots__ if name in data})
