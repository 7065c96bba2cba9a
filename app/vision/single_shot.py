"""A network that finds faces and names their emotions in one pass, as a card describes it:
preprocess → predict → postprocess."""

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.deadline import NEVER, Deadline
from app.vision.card import SingleShotCard, read_single_shot_card, read_weights
from app.vision.cells import ANSWERS, find, grid
from app.vision.classifier import Session, softmax
from app.vision.image import Raster, letterbox
from app.vision.session import OnnxSession, naming
from app.vision.tiles import search
from app.vision.types import Box, Detection

SMALLEST_FACE = 14.0  # pixels in the square, from which on most faces are found
MIN_SCORE = 0.3  # where F1 is best on validation photographs
NMS_IOU = 0.45
Found = tuple[Detection, dict[str, float]]


class SingleShotNet:
    """Finds the faces of one picture and names their emotions."""

    def __init__(self, card: SingleShotCard, session: Session) -> None:
        self.card = card
        self._session = session
        # The score from which on a box counts, as the network says it.
        odds = np.log(MIN_SCORE / (1 - MIN_SCORE))
        self._min_logit = float((odds - card.score_bias) / card.score_scale)

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1) -> Self:
        """Read a model folder. Raises InvalidCard or ModelUnavailable."""
        card = read_single_shot_card(folder)
        answer = ANSWERS + len(card.labels)
        session = OnnxSession(
            read_weights(folder, card),
            shapes={(size, size, 3): (len(grid(size)[0]), answer) for size in card.input_sizes},
            threads=threads,
        )
        return cls(card, session)

    def size_for(self, longer_side: int, min_face_px: float) -> int:
        """The smallest square in which faces of `min_face_px` pixels are large enough, of a picture
        of that longer side; the largest where they never are."""
        for size in self.card.input_sizes:
            if min_face_px * min(1.0, size / longer_side) >= SMALLEST_FACE:
                return size
        return self.card.input_sizes[-1]

    def preprocess(
        self, image_bgr: NDArray[np.uint8], size: int
    ) -> tuple[NDArray[np.uint8], float]:
        """The square (size, size, 3) uint8 that the network takes, and its pixels for one of the
        picture's."""
        return letterbox(image_bgr, size)

    def predict(
        self, squares: NDArray[np.uint8], deadline: Deadline = NEVER
    ) -> NDArray[np.float32]:
        """Answers (n, cells, 5 + classes) of squares (n, size, size, 3). Raises what
        `OnnxSession.run` raises."""
        with naming(self.card.name):
            return self._session.run(squares, deadline)

    def postprocess(
        self, answers: NDArray[np.float32], size: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
        """Of the answers (cells, 5 + classes) for one square the boxes xyxy (n, 4) in its pixels,
        the probability of each that it holds a face (n,), and those of the emotions (n, classes),
        both calibrated by the card."""
        boxes, logits, names = find(answers, size, min_logit=self._min_logit, nms_iou=NMS_IOU)
        odds = self.card.score_scale * logits.astype(np.float64) + self.card.score_bias
        return boxes, 1 / (1 + np.exp(-odds)), softmax(names, temperature=self.card.temperature)

    def warm(self) -> None:
        """Run every size once."""
        for size in self.card.input_sizes:
            self.postprocess(self.predict(np.zeros((1, size, size, 3), np.uint8))[0], size)

    def find(self, raster: Raster, min_face_px: float, deadline: Deadline = NEVER) -> list[Found]:
        """Faces with boxes in the original's pixels, and {emotion: probability} of each, the surest
        first. `min_face_px` chooses the size of the square; smaller faces may be found too."""
        return search(
            raster,
            self.card.input_size,
            lambda tile: self._find(tile, min_face_px, deadline),
            nms_iou=NMS_IOU,
        )

    def _find(self, raster: Raster, min_face_px: float, deadline: Deadline) -> list[Found]:
        """The faces of an image or a tile, which is searched as one square."""
        width, height = raster.size_wh
        size = self.size_for(max(width, height), min_face_px)
        square, factor = self.preprocess(raster.bgr, size)
        boxes, scores, names = self.postprocess(self.predict(square[np.newaxis], deadline)[0], size)
        pixels = boxes.astype(float) / (factor * raster.scale)
        inside = np.clip(pixels, 0, (width, height, width, height)).round(2)
        return [
            (Detection(Box(*box), score), dict(zip(self.card.labels, row, strict=True)))
            for box, score, row in zip(
                inside.tolist(), scores.tolist(), names.tolist(), strict=True
            )
            if box[0] < box[2] and box[1] < box[3]
        ]
