"""The detector YuNet (Wu et al. 2023, Machine Intelligence Research 20, 656), run by OpenCV.

The weights are not part of this project. The operator installs them in `models/yunet/`.
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
from app.vision.card import DetectorCard, detector_folder, read_weights
from app.vision.image import Raster, letterbox
from app.vision.probe import probe_weights
from app.vision.session import with_model_name
from app.vision.tiles import search_tiles
from app.vision.types import Box, Detection

MIN_SCORE = 0.5
NMS_IOU = 0.3
MAX_CANDIDATES = 5000


class YuNet:
    """The network. Thread-safe. Raises ModelUnavailable for weights that are not a valid YuNet
    network."""

    def __init__(self, weights: bytes, side: int) -> None:
        self._side = side
        self._weights = np.frombuffer(weights, np.uint8)
        # One network per thread, because OpenCV's network object stores the current image.
        self._local = threading.local()
        self.rows(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))

    def rows(self, square: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Find faces in a square (side, side, 3) BGR. Returns rows (n, 15): x, y, width, height,
        ten landmark coordinates and the score.

        Raises ModelUnavailable if the network fails or returns NaN or infinity.
        """
        try:
            _, found = self._net().detect(square)
            rows = np.empty((0, 15)) if found is None else np.asarray(found, dtype=float)
        except cv2.error as error:
            raise ModelUnavailable("the weights are not a valid YuNet network") from error
        if not np.isfinite(rows).all():
            raise ModelUnavailable("the weights return NaN or infinity")
        return rows

    def _net(self) -> cv2.FaceDetectorYN:
        if not hasattr(self._local, "net"):
            self._local.net = cv2.FaceDetectorYN.create(
                "onnx",
                self._weights,
                np.empty(0, np.uint8),
                (self._side, self._side),
                MIN_SCORE,
                NMS_IOU,
                MAX_CANDIDATES,
            )
        net: cv2.FaceDetectorYN = self._local.net
        return net


class YuNetDetector:
    """Finds faces of at least 10 pixels in an image that is fitted into the square input."""

    name = "yunet"
    title = "YuNet"
    description = "OpenCV's YuNet network. The operator installs its weights."
    needs_color = True
    min_face_share = 0.05
    max_pixels: float = math.inf
    box_scale = 0.86

    def __init__(self, card: DetectorCard, weights: bytes) -> None:
        """Create the detector. Raises ModelUnavailable for weights that are not a valid YuNet
        network."""
        self._size = card.input_size
        probe_weights("yunet", weights, self._size, sizes=frozenset({self._size}))
        self._net = YuNet(weights, self._size)

    @classmethod
    def load(cls, models_dir: Path, *, threads: int = 1) -> Self:
        """Load the detector. `threads` is ignored: OpenCV runs the network with the number of
        threads that `cv2.setNumThreads` sets.

        Raises ModelUnavailable if the weights are not installed or cannot be used.
        """
        advice = "install them with flask --app wsgi models install PATH --card CARD"
        folder = detector_folder(models_dir, cls.name, advice)
        card = DetectorCard.read(folder)
        return cls(card, read_weights(folder, card))

    def scale_for(self, longer_side: int, min_face_px: float) -> float:
        return self._size / longer_side

    def detect(
        self, raster: Raster, min_face_px: float, deadline: Deadline = NEVER
    ) -> list[Detection]:
        """Find faces with a score of at least MIN_SCORE. The search of one tile cannot be stopped;
        it takes less than a second."""
        found = search_tiles(
            raster, self._size, lambda tile: self._find(tile, deadline), nms_iou=NMS_IOU
        )
        return [detection for detection, _ in found]

    def _find(self, raster: Raster, deadline: Deadline) -> list[tuple[Detection, None]]:
        square, factor = letterbox(raster.bgr, self._size)
        deadline.check()
        with with_model_name(self.name):
            rows = self._net.rows(square)
        scale = factor * raster.scale
        return [(_detection(row, scale), None) for row in rows if (row[2:4] > 0).all()]


def _detection(row: NDArray[np.float64], scale: float) -> Detection:
    x, y, width, height = (row[:4] / scale).tolist()
    return Detection(Box(x, y, x + width, y + height), min(1.0, max(0.0, float(row[14]))))
