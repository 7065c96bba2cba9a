"""The card of a model that scores emotion categories and continuous dimensions of emotion.

An example is the two-branch network of EMOTIC (Kosti et al. 2019), whose inputs are an image of the
body and an image of the surroundings.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from app.vision.card import ModelCard
from app.vision.card_schema import (
    CATEGORY_LABEL,
    CardSchema,
    LabelsSchema,
    PartSchema,
    distinct,
    label_list,
    tensor_list,
)
from app.vision.tensors import Signature, Tensor

CATEGORIES, DIMENSIONS = "categories", "dimensions"  # the names of the outputs


@dataclass(frozen=True, slots=True)
class Dimension:
    """A continuous dimension of emotion with values from `low` to `high`."""

    name: str
    low: float
    high: float


class _DimensionSchema(PartSchema):
    name = fields.String(required=True, validate=validate.Regexp(r"^[a-z][a-z0-9_]{0,63}\Z"))
    range = fields.List(fields.Float(), required=True, validate=validate.Length(equal=2))

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Dimension:
        low, high = data["range"]
        if low >= high:
            raise ValidationError("must be the lowest value and then the highest value", "range")
        return Dimension(data["name"], low, high)


def _distinct_names(dimensions: list[Dimension]) -> None:
    distinct([each.name for each in dimensions])


class _CategorySchema(LabelsSchema):
    labels = label_list(CATEGORY_LABEL)
    exclusive = fields.Boolean(load_default=False)
    thresholds = fields.List(fields.Float(validate=validate.Range(0, 1)), required=True)
    dimensions = fields.List(
        fields.Nested(_DimensionSchema),
        load_default=[],
        validate=[validate.Length(max=16), _distinct_names],
    )
    inputs = tensor_list(required=True)
    outputs = tensor_list(required=True)

    @validates_schema(skip_on_field_errors=True)
    def check_outputs(self, data: dict[str, Any], **_: Any) -> None:
        expected = [Tensor(CATEGORIES, "float32", (len(data["labels"]),))]
        if data["dimensions"]:
            expected.append(Tensor(DIMENSIONS, "float32", (len(data["dimensions"]),)))
        for tensor in expected:
            if tensor not in data["outputs"]:
                shape = ["n", *tensor.shape]
                raise ValidationError(
                    f"must contain {tensor.name!r}, {tensor.dtype} of shape {shape}", "outputs"
                )

    def arguments(self, data: dict[str, Any]) -> dict[str, Any]:
        return super().arguments(data) | {
            "dimensions": tuple(data["dimensions"]),
            "signature": Signature(tuple(data["inputs"]), tuple(data["outputs"])),
        }


@dataclass(frozen=True, slots=True)
class CategoryCard(ModelCard):
    """The card of a model that scores categories and dimensions.

    `labels` are categories with the names of their data set, such as "Doubt/Confusion". The output
    `categories` (n, labels) contains scores in [0, 1]; `thresholds` apply to these scores. The
    output `dimensions` (n, dimensions) contains the values of the dimensions. A model without
    dimensions does not need this output.
    """

    schema: ClassVar[type[CardSchema]] = _CategorySchema

    dimensions: tuple[Dimension, ...]
    signature: Signature
