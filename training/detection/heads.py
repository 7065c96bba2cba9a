"""What the answers of each one-pass net mean: how they are learned and read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from app.vision.cells import find
from training.detection import losses, yolo
from training.detection.losses import Losses, Marks


class Find(Protocol):
    def __call__(
        self, answers: NDArray[np.float32], side: int, *, min_logit: float, nms_iou: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """See app.vision.cells.find."""


@dataclass(frozen=True)
class Head:
    losses: Callable[[Tensor, Marks, int], Losses]
    find: Find


HEADS = {
    "single_shot": Head(losses.losses, find),
    "yolov3_tiny": Head(yolo.losses, yolo.find),
}
