"""Decoders of single-shot networks: they convert the rows that a network returns to boxes.

The card of a single-shot network names the decoder. To add a decoder, write a class with the
protocol `Decoder` and a schema that creates it from the field `decoder` of the card, and add the
schema to DECODERS.
"""

from typing import Any, Protocol

import numpy as np
from marshmallow import Schema, ValidationError, fields, post_load, validate
from numpy.typing import NDArray

from app.vision import cells
from app.vision.card_schema import PartSchema
from app.vision.yolov3 import Scale, Yolov3Decoder


class Decoder(Protocol):
    def rows(self, side: int) -> int:
        """Return the number of rows that the network returns for a square of `side` pixels."""

    def find(
        self, outputs: NDArray[np.float32], side: int, *, min_logit: float, nms_iou: float
    ) -> cells.BoxArrays:
        """Decode outputs (rows, 5 + classes) into at most MAX_CANDIDATES boxes: see
        app.vision.cells.find."""

    def exclusive_logits(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convert class logits (n, classes) to logits whose softmax is the distribution over
        exclusive classes."""


class CellsDecoder:
    """The decoder of this project's own networks: see cells.py."""

    def rows(self, side: int) -> int:
        return len(cells.grid(side)[0])

    def find(
        self, outputs: NDArray[np.float32], side: int, *, min_logit: float, nms_iou: float
    ) -> cells.BoxArrays:
        return cells.find(outputs, side, min_logit=min_logit, nms_iou=nms_iou)

    def exclusive_logits(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        return logits


class _CellsSchema(PartSchema):
    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Decoder:
        return CellsDecoder()


class _ScaleSchema(PartSchema):
    stride = fields.Integer(required=True, strict=True, validate=validate.OneOf(cells.STRIDES))
    anchors = fields.List(
        fields.List(
            fields.Float(validate=validate.Range(1, 2048)), validate=validate.Length(equal=2)
        ),
        required=True,
        validate=validate.Length(1, 9),
    )

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Scale:
        return Scale(data["stride"], tuple((width, height) for width, height in data["anchors"]))


class _Yolov3Schema(PartSchema):
    scales = fields.List(fields.Nested(_ScaleSchema), required=True, validate=validate.Length(1, 3))
    classes = fields.String(
        load_default="softmax", validate=validate.OneOf(["softmax", "logistic"])
    )

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> Decoder:
        return Yolov3Decoder(tuple(data["scales"]), data["classes"] == "logistic")


DECODERS: dict[str, type[Schema]] = {"cells": _CellsSchema, "yolov3": _Yolov3Schema}


class DecoderField(fields.Field[Decoder]):
    """The field `decoder` of a card: an object with a `name` that is a key of DECODERS."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **_: Any) -> Decoder:
        name = value.get("name") if isinstance(value, dict) else None
        if not isinstance(name, str) or name not in DECODERS:
            raise ValidationError(f"must be an object whose name is one of {', '.join(DECODERS)}")
        decoder: Decoder = DECODERS[name]().load(value)
        return decoder
