"""Runs single-shot networks, which detect faces and score their emotions in one pass.

The model card describes the network. The steps are preprocess → predict → postprocess.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from marshmallow import ValidationError, fields, validate
from numpy.typing import NDArray

from app.deadline import NEVER, Deadline
from app.vision.card import SINGLE_SHOT, ModelCard, read_weights
from app.vision.card_schema import CardSchema, EmotionsSchema, PartSchema
from app.vision.cells import BOX_VALUES, MAX_STRIDE
from app.vision.classifier import scores as class_scores
from app.vision.decoders import CellsDecoder, Decoder, DecoderField
from app.vision.image import Raster, letterbox
from app.vision.session import OnnxSession, Session, with_model_name
from app.vision.tensors import Signature, single_tensor_signature
from app.vision.tiles import search_tiles
from app.vision.types import Box, Detection, Scores

MIN_FACE_PX = 14.0  # pixels in the square; the network finds most faces of this size
MIN_SCORE = 0.3  # the score with the best F1 on the validation images
NMS_IOU = 0.45
ScoredDetection = tuple[Detection, Scores]


def _check_stride_multiple(size: int) -> None:
    if size % MAX_STRIDE:
        raise ValidationError(f"must be a multiple of {MAX_STRIDE}")


class _InputSchema(PartSchema):
    sizes = fields.List(
        fields.Integer(strict=True, validate=[validate.Range(64, 2048), _check_stride_multiple]),
        required=True,
        validate=validate.Length(1, 4),
    )


class _ScoreSchema(PartSchema):
    scale = fields.Float(required=True, validate=validate.Range(0.01, 100))
    bias = fields.Float(required=True, validate=validate.Range(-100, 100))


class _SingleShotSchema(EmotionsSchema):
    kind = fields.String(required=True, validate=validate.Equal(SINGLE_SHOT))
    input = fields.Nested(_InputSchema, required=True)
    score = fields.Nested(_ScoreSchema, required=True)
    decoder = DecoderField(load_default=CellsDecoder)

    def arguments(self, data: dict[str, Any]) -> dict[str, Any]:
        return super().arguments(data) | {
            "input_sizes": tuple(sorted(set(data["input"]["sizes"]))),
            "score_scale": data["score"]["scale"],
            "score_bias": data["score"]["bias"],
            "decoder": data["decoder"],
        }


@dataclass(frozen=True, slots=True)
class SingleShotCard(ModelCard):
    """The card of a single-shot network.

    `input_sizes` are the sides in pixels of the squares that the network takes, in ascending order.
    sigmoid(`score_scale` · logit + `score_bias`) is the probability that a box contains a face.
    `temperature` calibrates the emotion scores: see ClassifierCard.
    """

    schema: ClassVar[type[CardSchema]] = _SingleShotSchema

    temperature: float
    input_sizes: tuple[int, ...]
    score_scale: float
    score_bias: float
    decoder: Decoder

    @property
    def input_size(self) -> int:
        """The largest side."""
        return self.input_sizes[-1]

    @property
    def signatures(self) -> list[Signature]:
        """The signature for each input size: from squares (n, side, side, 3) uint8 BGR to outputs
        (n, rows, 5 + classes) float32."""
        return [
            single_tensor_signature(
                (side, side, 3), (self.decoder.rows(side), BOX_VALUES + len(self.labels))
            )
            for side in self.input_sizes
        ]


class SingleShotNet:
    """Detects the faces of an image and scores their emotions."""

    def __init__(self, card: SingleShotCard, session: Session) -> None:
        self.card = card
        ((self._input,), (self._output,)) = card.signatures[0].inputs, card.signatures[0].outputs
        self._session = session
        # Convert MIN_SCORE to an uncalibrated logit of the network.
        log_odds = np.log(MIN_SCORE / (1 - MIN_SCORE))
        self._min_logit = float((log_odds - card.score_bias) / card.score_scale)

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1) -> Self:
        """Load a model folder. Raises InvalidCard or ModelUnavailable."""
        card = SingleShotCard.read(folder)
        session = OnnxSession(
            read_weights(folder, card), signatures=card.signatures, threads=threads
        )
        return cls(card, session)

    def size_for(self, longer_side: int, min_face_px: float) -> int:
        """Return the smallest input size at which faces of `min_face_px` pixels are large enough,
        for an image with this longer side. Returns the largest size if none is sufficient."""
        for size in self.card.input_sizes:
            if min_face_px * min(1.0, size / longer_side) >= MIN_FACE_PX:
                return size
        return self.card.input_sizes[-1]

    def preprocess(
        self, image_bgr: NDArray[np.uint8], size: int
    ) -> tuple[NDArray[np.uint8], float]:
        """Fit an image (height, width, 3) into a square (size, size, 3) uint8. Returns the square
        and the scale: pixels of the square per pixel of the image."""
        return letterbox(image_bgr, size)

    def predict(
        self, squares: NDArray[np.uint8], deadline: Deadline = NEVER
    ) -> NDArray[np.float32]:
        """Return the outputs (n, rows, 5 + classes) for squares (n, size, size, 3). Raises the
        errors of `OnnxSession.run`."""
        with with_model_name(self.card.name):
            outputs = self._session.run({self._input.name: squares}, deadline)
        return outputs[self._output.name]

    def postprocess(
        self, outputs: NDArray[np.float32], size: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
        """Decode the outputs (rows, 5 + classes) for one square of this size.

        Returns boxes xyxy (n, 4) in pixels of the square, the probability (n,) that each box
        contains a face, and emotion scores (n, classes). The card calibrates both.
        """
        card = self.card
        boxes, logits, classes = card.decoder.find(
            outputs, size, min_logit=self._min_logit, nms_iou=NMS_IOU
        )
        log_odds = card.score_scale * logits.astype(np.float64) + card.score_bias
        if card.exclusive:
            classes = card.decoder.exclusive_logits(classes)
        emotions = class_scores(classes, temperature=card.temperature, exclusive=card.exclusive)
        return boxes, 1 / (1 + np.exp(-log_odds)), emotions

    def warm_up(self) -> None:
        """Run the network once at each input size."""
        for size in self.card.input_sizes:
            self.postprocess(self.predict(np.zeros((1, size, size, 3), np.uint8))[0], size)

    def find(
        self, raster: Raster, min_face_px: float, deadline: Deadline = NEVER
    ) -> list[ScoredDetection]:
        """Detect faces. Returns detections in pixels of the original with their emotion scores, in
        descending order of the detection score.

        `min_face_px` determines the input size; smaller faces may be found as well.
        """
        return search_tiles(
            raster,
            self.card.input_size,
            lambda tile: self._find(tile, min_face_px, deadline),
            nms_iou=NMS_IOU,
        )

    def _find(
        self, raster: Raster, min_face_px: float, deadline: Deadline
    ) -> list[ScoredDetection]:
        """Detect faces in an image or a tile, which becomes one square."""
        width, height = raster.size_wh
        size = self.size_for(max(width, height), min_face_px)
        square, factor = self.preprocess(raster.bgr, size)
        outputs = self.predict(square[np.newaxis], deadline)[0]
        deadline.check()
        boxes, faces, emotions = self.postprocess(outputs, size)
        pixels = boxes.astype(float) / (factor * raster.scale)
        inside = np.clip(pixels, 0, (width, height, width, height)).round(2)
        return [
            (Detection(Box(*box), face), self._scores(row))
            for box, face, row in zip(
                inside.tolist(), faces.tolist(), emotions.tolist(), strict=True
            )
            if box[0] < box[2] and box[1] < box[3]
        ]

    def _scores(self, row: list[float]) -> Scores:
        scores = dict(zip(self.card.labels, row, strict=True))
        return Scores(scores, exclusive=self.card.exclusive)
