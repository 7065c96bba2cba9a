"""YuNet (Wu et al. 2023, Machine Intelligence Research 20, 656), through OpenCV.

Its weights are not part of this project: an operator installs them, `models/yunet/`.
"""

import math
import threading
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from app.deadline import NEVER, Deadline
from app.errors import ModelUnavailable
from app.vision.card import Card, detector_folder, read_detector_card, read_weights
from app.vision.image import Raster, letterbox
from app.vision.types import Box, Detection

MIN_SCORE = 0.5
NMS_IOU = 0.3
TOP = 5000


class YuNetDetector:
    """Faces from 10 pixels on in a picture that is fitted into the square that the weights take."""

    name = "yunet"
    description = "YuNet (OpenCV's FaceDetectorYN), with weights that the operator installs"
    needs_color = True
    min_face_share = 0.05
    max_pixels: float = math.inf
    box_scale = 0.86

    def __init__(self, card: Card, weights: bytes) -> None:
        """Raises ModelUnavailable for weights that are not YuNet's."""
        self._size = card.input_size
        self._weights = np.frombuffer(weights, np.uint8)
        # OpenCV's networks keep the picture at work: one for each thread.
        self._local = threading.local()
        side = self._size
        noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
        try:
            self.detect(Raster(noise[:, :, 0], (side, side), colors=noise), side)
        except (cv2.error, ModelUnavailable) as error:
            raise ModelUnavailable("the weights are not those of a YuNet that runs") from error

    @classmethod
    def load(cls, models_dir: Path) -> Self:
        """Raises ModelUnavailable where the weights are not installed or cannot be used."""
        advice = "installs them with flask --app wsgi models install PATH --card CARD"
        folder = detector_folder(models_dir, cls.name, advice)
        card = read_detector_card(folder)
        return cls(card, read_weights(folder, card))

    def scale_for(self, longer_side: int, min_face_px: float) -> float:
        return self._size / longer_side

    def detect(
        self, raster: Raster, min_face_px: float, deadline: Deadline = NEVER
    ) -> list[Detection]:
        """Faces with a score of at least MIN_SCORE. Raises ModelUnavailable for an answer with NaN
        or infinity. OpenCV cannot be stopped, and takes less than a second."""
        square, factor = letterbox(raster.bgr, self._size)
        deadline.check()
        try:
            _, found = self._net().detect(square)
        except cv2.error as error:
            raise ModelUnavailable(f"the weights of {self.name!r} fail on this image") from error
        rows = np.empty((0, 15)) if found is None else np.asarray(found, dtype=float)
        if not np.isfinite(rows).all():
            raise ModelUnavailable(f"the weights of {self.name!r} answer with NaN or infinity")
        return [_detection(row, factor * raster.scale) for row in rows if (row[2:4] > 0).all()]

    def _net(self) -> cv2.FaceDetectorYN:
        if not hasattr(self._local, "net"):
            self._local.net = cv2.FaceDetectorYN.create(
                "onnx",
                self._weights,
                np.empty(0, np.uint8),
                (self._size, self._size),
                MIN_SCORE,
                NMS_IOU,
                TOP,
            )
        net: cv2.FaceDetectorYN = self._local.net
        return net


def _detection(row: NDArray[np.float64], scale: float) -> Detection:
    x, y, width, height = (row[:4] / scale).tolist()
    return Detection(Box(x, y, x + width, y + height), min(1.0, max(0.0, float(row[14]))))
