"""Marshmallow schemas of model cards (card.json) that several kinds of models use.

A schema checks the fields that the service needs; a card may contain further fields. `arguments`
converts the checked data to the arguments of the card class: see card.py.
"""

from collections.abc import Callable
from math import prod
from typing import Any

from marshmallow import (
    EXCLUDE,
    Schema,
    ValidationError,
    fields,
    post_load,
    validate,
    validates_schema,
)

from app.vision.tensors import DTYPES, Shape, Tensor

BATCH = "n"  # the first dimension of every tensor
MAX_ELEMENTS = 2**24  # maximum number of elements in one item of a tensor
# In API responses, the labels are keys of a face object, next to these keys.
FACE_KEYS = ("face_id", "bbox")
FACE_LABEL = validate.Regexp(
    r"^[a-z][a-z0-9_]{0,63}\Z", error="must be lower-case letters, digits and _"
)
# Categories are keys of a separate object, so they can have the names of their data set.
CATEGORY_LABEL = validate.Regexp(
    r"^[A-Za-z][A-Za-z0-9 _/-]{0,63}\Z", error="must be letters, digits, spaces and _ / -"
)

_NAME = validate.Regexp(
    r"^[a-z0-9][a-z0-9_.-]{0,63}\Z", error="must be lower-case letters, digits and . _ -"
)


def distinct(values: list[Any]) -> None:
    """Raise ValidationError if two values are equal."""
    if len(set(values)) != len(values):
        raise ValidationError("values must be unique")


def printable_only(text: str) -> None:
    """Raise ValidationError for control characters."""
    if not text.isprintable():
        raise ValidationError("must contain printable characters only")


class PartSchema(Schema):
    """An object in a card. Unknown fields are allowed."""

    class Meta:
        unknown = EXCLUDE


class WeightsSchema(PartSchema):
    # A plain file name, because the weights must be in the folder of the card.
    file = fields.String(required=True, validate=validate.Regexp(r"^[\w][\w.-]*\.onnx\Z"))
    sha256 = fields.String(required=True, validate=validate.Regexp(r"^[0-9a-f]{64}\Z"))


class CardSchema(PartSchema):
    """The fields of every card."""

    name = fields.String(required=True, validate=_NAME)
    version = fields.String(required=True, validate=[validate.Length(1, 32), printable_only])
    weights = fields.Nested(WeightsSchema, required=True)
    licence = fields.String(required=True, validate=validate.Length(min=1))
    intended_use = fields.String(required=True, validate=validate.Length(min=1))

    def arguments(self, data: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": data["name"],
            "version": data["version"],
            "weights_file": data["weights"]["file"],
            "sha256": data["weights"]["sha256"],
        }


class InputSchema(PartSchema):
    """The short form of `inputs`, for a network with one square input.

    `size` is the side of the square in pixels.
    """

    size = fields.Integer(required=True, strict=True, validate=validate.Range(8, 1024))


class TensorSchema(PartSchema):
    """An entry of `inputs` or `outputs`. `shape` starts with "n", the batch dimension. `what`
    describes the tensor for people who read the card."""

    name = fields.String(required=True, validate=validate.Regexp(r"^[A-Za-z_][\w./:-]{0,63}\Z"))
    dtype = fields.String(required=True, validate=validate.OneOf([*DTYPES]))
    shape = fields.List(fields.Raw(), required=True, validate=validate.Length(1, 6))
    what = fields.String(validate=validate.Length(max=1_000))

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Tensor:
        return Tensor(data["name"], data["dtype"], _item_shape(data["shape"]))


def _item_shape(shape: list[Any]) -> Shape:
    batch, *sides = shape
    if batch != BATCH:
        raise ValidationError(f'must start with "{BATCH}", the batch dimension', "shape")
    if not all(type(side) is int and side >= 1 for side in sides):
        raise ValidationError(f'must be "{BATCH}" and positive whole numbers', "shape")
    if prod(sides) > MAX_ELEMENTS:
        raise ValidationError(f"must have at most {MAX_ELEMENTS:,} elements per item", "shape")
    return tuple(sides)


def _distinct_names(tensors: list[Tensor]) -> None:
    distinct([tensor.name for tensor in tensors])


def tensor_list(**options: Any) -> fields.List[Any]:
    """Return the field for `inputs` or `outputs`: a list of Tensor."""
    return fields.List(
        fields.Nested(TensorSchema), validate=[validate.Length(1, 8), _distinct_names], **options
    )


def label_list(*rules: Callable[[str], object]) -> fields.List[Any]:
    """Return the field for `labels`. Each label is checked with all `rules`."""
    return fields.List(
        fields.String(validate=[*rules]),
        required=True,
        validate=[validate.Length(2, 64), distinct],
    )


class LabelsSchema(CardSchema):
    """The fields of a model that scores labels.

    The scores of `exclusive` labels are a distribution that sums to 1; scores of other labels are
    independent. `thresholds` contains the minimum score at which each label applies.
    """

    labels = label_list(FACE_LABEL, validate.NoneOf(FACE_KEYS))
    exclusive = fields.Boolean(load_default=True)
    thresholds = fields.List(
        fields.Float(validate=validate.Range(0, 1)), load_default=None, allow_none=True
    )

    @validates_schema(skip_on_field_errors=True)
    def check_number_of_thresholds(self, data: dict[str, Any], **_: Any) -> None:
        if data["thresholds"] is not None and len(data["thresholds"]) != len(data["labels"]):
            raise ValidationError("must contain one number for each label", "thresholds")

    def arguments(self, data: dict[str, Any]) -> dict[str, Any]:
        thresholds = data["thresholds"]
        return super().arguments(data) | {
            "labels": tuple(data["labels"]),
            "exclusive": data["exclusive"],
            "thresholds": None if thresholds is None else tuple(thresholds),
        }


class EmotionsSchema(LabelsSchema):
    """The fields of a model that returns logits for the emotions of faces."""

    temperature = fields.Float(required=True, validate=validate.Range(0.01, 100))

    def arguments(self, data: dict[str, Any]) -> dict[str, Any]:
        return super().arguments(data) | {"temperature": data["temperature"]}
