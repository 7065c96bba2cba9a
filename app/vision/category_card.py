"""The card of a model that scores categories and continuous dimensions of emotion, such as the two
branches of EMOTIC (Kosti et al. 2019): one image of the body, one of its surroundings."""

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
    """A continuous dimension, from `low` to `high`."""

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
            raise ValidationError("must be the lowest and the highest value", "range")
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
    def outputs_fit(self, data: dict[str, Any], **_: Any) -> None:
        expected = [Tensor(CATEGORIES, "float32", (len(data["labels"]),))]
        if data["dimensions"]:
            expected.append(Tensor(DIMENSIONS, "float32", (len(data["dimensions"]),)))
        for tensor in expected:
            if tensor not in data["outputs"]:
                shape = ["n", *tensor.shape]
                raise ValidationError(
                    f"must have {tensor.name!r}, {tensor.dtype} of shape {shape}", "outputs"
                )

    def arguments(self, data: dict[str, Any]) -> dict[str, Any]:
        return super().arguments(data) | {
            "dimensions": tuple(data["dimensions"]),
            "signature": Signature(tuple(data["inputs"]), tuple(data["outputs"])),
        }


@dataclass(frozen=True, slots=True)
class CategoryCard(ModelCard):
    """`labels` are categories with the names of their data set, such as "Doubt/Confusion".

    The output `categories` (n, labels) holds scores in [0, 1], which `thresholds` refer to. The
    output `dimensions` (n, dimensions) holds values of the dimensions on their own scales; a card
    without dimensions needs no such output.
    """

    schema: ClassVar[type[CardSchema]] = _CategorySchema

    dimensions: tuple[Dimension, ...]
    signature: Signature
