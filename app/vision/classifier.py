"""Runs emotion classifiers that a model card describes: preprocess → predict → postprocess."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from marshmallow import ValidationError, fields, validate, validates_schema
from numpy.typing import NDArray

from app.deadline import NEVER, Deadline
from app.vision.card import CLASSIFIER, DETECTOR, ModelCard, read_weights
from app.vision.card_schema import CardSchema, EmotionsSchema, InputSchema, tensor_list
from app.vision.image import crop_face
from app.vision.session import OnnxSession, Session, with_model_name
from app.vision.tensors import Signature, Tensor, single_tensor_signature
from app.vision.types import Box, Scores


class _ClassifierSchema(EmotionsSchema):
    """The fields of a classifier's card: either `input`, or `inputs` and `outputs` with the names
    of the tensors."""

    # The network that verifies the candidates of the Haar detector has a classifier card with the
    # kind DETECTOR.
    kind = fields.String(validate=validate.OneOf([CLASSIFIER, DETECTOR]))
    crop_scale = fields.Float(required=True, validate=validate.Range(0, 4, min_inclusive=False))
    input = fields.Nested(InputSchema)
    inputs = tensor_list()
    outputs = tensor_list()

    @validates_schema(skip_on_field_errors=True)
    def check_tensors(self, data: dict[str, Any], **_: Any) -> None:
        if not data.keys() & {"inputs", "outputs"}:
            if "input" not in data:
                raise ValidationError("Missing data for required field.", "input")
            return
        if "input" in data:
            raise ValidationError("must not be given together with inputs and outputs", "input")
        inputs, outputs = data.get("inputs", []), data.get("outputs", [])
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValidationError("inputs and outputs must each be one tensor", "inputs")
        side = inputs[0].shape[-1:]
        expected = single_tensor_signature((1, *side, *side), (len(data["labels"]),))
        _check_tensor(inputs[0], expected.inputs[0], "inputs")
        _check_tensor(outputs[0], expected.outputs[0], "outputs")

    def arguments(self, data: dict[str, Any]) -> dict[str, Any]:
        if "input" in data:
            size = data["input"]["size"]
            signature = single_tensor_signature((1, size, size), (len(data["labels"]),))
        else:
            signature = Signature(tuple(data["inputs"]), tuple(data["outputs"]))
        return super().arguments(data) | {
            "crop_scale": data["crop_scale"],
            "signature": signature,
        }


def _check_tensor(tensor: Tensor, expected: Tensor, field: str) -> None:
    if (tensor.dtype, tensor.shape) != (expected.dtype, expected.shape):
        shape = ["n", *expected.shape]
        raise ValidationError(f"must be {expected.dtype} of shape {shape}", field)


@dataclass(frozen=True, slots=True)
class ClassifierCard(ModelCard):
    """The card of an emotion classifier.

    `temperature` is the T of softmax(logits / T), or of sigmoid(logits / T) for labels that are not
    exclusive. `crop_scale` is the side of the square grey crop divided by the longer side of the
    detector's box.
    """

    schema: ClassVar[type[CardSchema]] = _ClassifierSchema

    temperature: float
    crop_scale: float
    signature: Signature

    @property
    def input_size(self) -> int:
        """The side of the crop in pixels."""
        return self.signature.inputs[0].shape[-1]


class Classifier:
    """Scores the emotions of faces. All faces of an image are one batch."""

    def __init__(self, card: ClassifierCard, session: Session) -> None:
        self.card = card
        self._session = session
        (self._input,), (self._output,) = card.signature.inputs, card.signature.outputs

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1) -> Self:
        """Load a model folder. Raises InvalidCard or ModelUnavailable."""
        card = ClassifierCard.read(folder)
        session = OnnxSession(
            read_weights(folder, card), signatures=[card.signature], threads=threads
        )
        return cls(card, session)

    def preprocess(
        self,
        image_gray: NDArray[np.uint8],
        boxes: Sequence[Box],
        *,
        box_scale: float = 1.0,
        deadline: Deadline = NEVER,
    ) -> NDArray[np.uint8]:
        """Return the crops (n, size, size) uint8 of the boxes in a grey image (height, width).
        `box_scale`: see `Detector.box_scale`. Raises DeadlineExceeded."""
        size, scale = self.card.input_size, self.card.crop_scale * box_scale
        crops = np.empty((len(boxes), size, size), np.uint8)
        for crop, box in zip(crops, boxes, strict=True):
            deadline.check()
            crop[:] = crop_face(image_gray, box, size=size, scale=scale)
        return crops

    def predict(self, crops: NDArray[np.uint8], deadline: Deadline = NEVER) -> NDArray[np.float32]:
        """Return the logits (n, classes) of crops (n, size, size). Raises the errors of
        `OnnxSession.run`."""
        with with_model_name(self.card.name):
            outputs = self._session.run({self._input.name: crops[:, np.newaxis]}, deadline)
        return outputs[self._output.name]

    def postprocess(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the scores (n, classes), calibrated with the temperature of the card."""
        return scores(logits, temperature=self.card.temperature, exclusive=self.card.exclusive)

    def classify(
        self,
        image_gray: NDArray[np.uint8],
        boxes: Sequence[Box],
        *,
        box_scale: float = 1.0,
        deadline: Deadline = NEVER,
    ) -> list[Scores]:
        """Return the scores of each box, in the label order of the card. Raises DeadlineExceeded
        and ModelUnavailable."""
        if not boxes:
            return []
        crops = self.preprocess(image_gray, boxes, box_scale=box_scale, deadline=deadline)
        rows = self.postprocess(self.predict(crops, deadline))
        return [
            Scores(
                dict(zip(self.card.labels, row.tolist(), strict=True)),
                exclusive=self.card.exclusive,
            )
            for row in rows
        ]


def scores(
    logits: NDArray[np.float32], *, temperature: float, exclusive: bool
) -> NDArray[np.float64]:
    """Convert logits (n, classes) to scores (n, classes): softmax for exclusive labels, otherwise
    the sigmoid of each logit."""
    if exclusive:
        return softmax(logits, temperature=temperature)
    halves = np.tanh(logits.astype(np.float64) / temperature / 2) / 2  # exp would overflow
    return np.asarray(halves + 0.5, dtype=np.float64)


def softmax(logits: NDArray[np.float32], *, temperature: float = 1.0) -> NDArray[np.float64]:
    """Return softmax(logits / T) of each row (n, classes) (Guo et al. 2017, arXiv 1706.04599,
    eq. 9)."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float64)
