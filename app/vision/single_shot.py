"""A network that finds faces and scores their emotions in one pass, as a card describes it:
preprocess → predict → postprocess."""

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
from app.vision.tensors import Signature, single
from app.vision.tiles import search_tiles
from app.vision.types import Box, Detection, Scores

MIN_FACE_PX = 14.0  # pixels in the square; most faces of this size are found
MIN_SCORE = 0.3  # has the best F1 on validation photographs
NMS_IOU = 0.45
ScoredDetection = tuple[Detection, Scores]


def _whole_cells(size: int) -> None:
    if size % MAX_STRIDE:
        raise ValidationError(f"must be a multiple of {MAX_STRIDE}")


class _InputSchema(PartSchema):
    sizes = fields.List(
        fields.Integer(strict=True, validate=[validate.Range(64, 2048), _whole_cells]),
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
    """`input_sizes` are the sides in pixels of the squares that the network takes, the smallest
    first. sigmoid(`score_scale` · logit + `score_bias`) is the probability that a box holds a face.
    `temperature` is that of the classes: see ClassifierCard."""

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
        """Squares (n, side, side, 3) uint8, BGR, to answers (n, rows, 5 + classes) float32, for
        each side."""
        return [
            single((side, side, 3), (self.decoder.rows(side), BOX_VALUES + len(self.labels)))
            for side in self.input_sizes
        ]


class SingleShotNet:
    """Finds the faces of one image and scores their emotions."""

    def __init__(self, card: SingleShotCard, session: Session) -> None:
        self.card = card
        ((self._input,), (self._output,)) = card.signatures[0].inputs, card.signatures[0].outputs
        self._session = session
        # MIN_SCORE as a logit of the network.
        odds = np.log(MIN_SCORE / (1 - MIN_SCORE))
        self._min_logit = float((odds - card.score_bias) / card.score_scale)

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1) -> Self:
        """Read a model folder. Raises InvalidCard or ModelUnavailable."""
        card = SingleShotCard.read(folder)
        session = OnnxSession(
            read_weights(folder, card), signatures=card.signatures, threads=threads
        )
        return cls(card, session)

    def size_for(self, longer_side: int, min_face_px: float) -> int:
        """The smallest square in which faces of `min_face_px` pixels are large enough, for an image
        with this longer side; the largest square if there is none."""
        for size in self.card.input_sizes:
            if min_face_px * min(1.0, size / longer_side) >= MIN_FACE_PX:
                return size
        return self.card.input_sizes[-1]

    def preprocess(
        self, image_bgr: NDArray[np.uint8], size: int
    ) -> tuple[NDArray[np.uint8], float]:
        """The square (size, size, 3) uint8 that the network takes, and its scale: pixels of the
        square per pixel of the image."""
        return letterbox(image_bgr, size)

    def predict(
        self, squares: NDArray[np.uint8], deadline: Deadline = NEVER
    ) -> NDArray[np.float32]:
        """Answers (n, rows, 5 + classes) of squares (n, size, size, 3). Raises what
        `OnnxSession.run` raises."""
        with with_model_name(self.card.name):
            outputs = self._session.run({self._input.name: squares}, deadline)
        return outputs[self._output.name]

    def postprocess(
        self, answers: NDArray[np.float32], size: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
        """For the answers (rows, 5 + classes) of one square: the boxes xyxy (n, 4) in its pixels,
        the probability that each holds a face (n,), and the scores of the emotions (n, classes),
        both calibrated by the card."""
        card = self.card
        boxes, logits, classes = card.decoder.find(
            answers, size, min_logit=self._min_logit, nms_iou=NMS_IOU
        )
        odds = card.score_scale * logits.astype(np.float64) + card.score_bias
        if card.exclusive:
            classes = card.decoder.exclusive_logits(classes)
        emotions = class_scores(classes, temperature=card.temperature, exclusive=card.exclusive)
        return boxes, 1 / (1 + np.exp(-odds)), emotions

    def warm(self) -> None:
        """Run every size once."""
        for size in self.card.input_sizes:
            self.postprocess(self.predict(np.zeros((1, size, size, 3), np.uint8))[0], size)

    def find(
        self, raster: Raster, min_face_px: float, deadline: Deadline = NEVER
    ) -> list[ScoredDetection]:
        """Faces with boxes in the original's pixels, and the scores of each, the surest first.
        `min_face_px` chooses the size of the square; smaller faces may be found too."""
        return search_tiles(
            raster,
            self.card.input_size,
            lambda tile: self._find(tile, min_face_px, deadline),
            nms_iou=NMS_IOU,
        )

    def _find(
        self, raster: Raster, min_face_px: float, deadline: Deadline
    ) -> list[ScoredDetection]:
        """The faces of an image or a tile, which is searched as one square."""
        width, height = raster.size_wh
        size = self.size_for(max(width, height), min_face_px)
        square, factor = self.preprocess(raster.bgr, size)
        answers = self.predict(square[np.newaxis], deadline)[0]
        deadline.check()
        boxes, faces, emotions = self.postprocess(answers, size)
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
