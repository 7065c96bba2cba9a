"""Any classifier that a card describes: preprocess → predict → postprocess."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from app.deadline import NEVER, Deadline
from app.vision.card import ClassifierCard, read_card, read_weights
from app.vision.image import crop_face
from app.vision.session import OnnxSession, naming
from app.vision.types import Box


class Session(Protocol):
    def run(self, items: NDArray[np.uint8], deadline: Deadline) -> NDArray[np.float32]: ...


class Classifier:
    """Names the emotions of the faces of one grey picture, all in one batch."""

    def __init__(self, card: ClassifierCard, session: Session) -> None:
        self.card = card
        self._session = session

    @classmethod
    def load(cls, folder: Path, *, threads: int = 1) -> Self:
        """Read a model folder. Raises InvalidCard or ModelUnavailable."""
        card = read_card(folder)
        session = OnnxSession(
            read_weights(folder, card),
            shapes={(1, card.input_size, card.input_size): (len(card.labels),)},
            threads=threads,
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
        """The crops (n, size, size) uint8 of `boxes` as the card asks for them. `box_scale` is that
        of the detector that found them."""
        size, scale = self.card.input_size, self.card.crop_scale * box_scale
        crops = np.empty((len(boxes), size, size), np.uint8)
        for crop, box in zip(crops, boxes, strict=True):
            deadline.check()
            crop[:] = crop_face(image_gray, box, size=size, scale=scale)
        return crops

    def predict(self, crops: NDArray[np.uint8], deadline: Deadline = NEVER) -> NDArray[np.float32]:
        """Logits (n, classes) of crops (n, size, size). Raises what `OnnxSession.run` raises."""
        with naming(self.card.name):
            return self._session.run(crops[:, np.newaxis], deadline)

    def postprocess(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities (n, classes), calibrated by the card's temperature."""
        return softmax(logits, temperature=self.card.temperature)

    def classify(
        self,
        image_gray: NDArray[np.uint8],
        boxes: Sequence[Box],
        *,
        box_scale: float = 1.0,
        deadline: Deadline = NEVER,
    ) -> list[dict[str, float]]:
        """One {emotion: probability} for each box, in the card's order of labels. Raises
        DeadlineExceeded and ModelUnavailable."""
        if not boxes:
            return []
        crops = self.preprocess(image_gray, boxes, box_scale=box_scale, deadline=deadline)
        probabilities = self.postprocess(self.predict(crops, deadline))
        return [dict(zip(self.card.labels, row.tolist(), strict=True)) for row in probabilities]


def softmax(logits: NDArray[np.float32], *, temperature: float = 1.0) -> NDArray[np.float64]:
    """softmax(logits / T) of each row (n, classes) (Guo et al. 2017, arXiv 1706.04599, eq. 9)."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float64)
