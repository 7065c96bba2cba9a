"""The models that annotate the images of a scene pack: a classifier and YuNet."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.vision.classifier import Classifier, softmax
from app.vision.detectors.yunet import MAX_CANDIDATES, MIN_SCORE, NMS_IOU
from app.vision.image import Raster
from app.vision.types import Box
from training.data.split import DataError
from training.ferplus_labels import LABELS

# Scale and shift of the jittered crops, relative to the side of the face.
JITTER = ((1.0, 0.0, 0.0), (0.92, 0.03, 0.0), (1.1, -0.03, 0.02))
STRIDE = 32  # YuNet needs sides that are multiples of it


class Teacher:
    """Predicts expressions as the mean over jittered crops and their mirror images."""

    def __init__(self, folder: Path) -> None:
        self._classifier = Classifier.load(folder)

    def __call__(
        self, raster: Raster, boxes: Sequence[Box], box_scale: float
    ) -> NDArray[np.float32]:
        """Return the distributions (n, classes) of the faces in `boxes`."""
        if not boxes:
            return np.zeros((0, len(LABELS)), np.float32)
        jittered = [_jittered(box, *each) for box in boxes for each in JITTER]
        crops = self._classifier.preprocess(raster.gray, jittered, box_scale=box_scale)
        mean = self.predict(crops).reshape(len(boxes), len(JITTER), -1).mean(axis=1)
        return np.asarray(mean, np.float32)

    def predict(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the distributions (n, classes) of crops (n, size, size), the mean over each crop
        and its mirror image."""
        views = (crops, np.ascontiguousarray(crops[:, :, ::-1]))
        total = sum(softmax(self._classifier.predict(view)) for view in views)
        return np.asarray(total / 2, np.float32)


class FaceDetector:
    """YuNet at the size of the image, which takes a quarter of the time of 640 × 640 pixels."""

    def __init__(self, weights: Path) -> None:
        try:
            data = np.frombuffer(weights.read_bytes(), np.uint8)
        except OSError as error:
            raise DataError(f"no {weights}: YuNet detects the faces without annotation") from error
        no_config = np.empty(0, np.uint8)
        size = (STRIDE, STRIDE)
        self._net = cv2.FaceDetectorYN.create(
            "onnx", data, no_config, size, MIN_SCORE, NMS_IOU, MAX_CANDIDATES
        )

    def __call__(self, image_bgr: NDArray[np.uint8]) -> list[tuple[Box, float]]:
        """Return boxes and scores."""
        height, width = image_bgr.shape[:2]
        right, below = -width % STRIDE, -height % STRIDE
        padded = cv2.copyMakeBorder(image_bgr, 0, below, 0, right, cv2.BORDER_CONSTANT)
        self._net.setInputSize((width + right, height + below))
        _, rows = self._net.detect(padded)
        return [
            (Box(x, y, x + w, y + h), score)
            for x, y, w, h, *_, score in ([] if rows is None else rows.tolist())
        ]


def _jittered(box: Box, scale: float, right: float, down: float) -> Box:
    side = box.longer_side
    x = (box.x1 + box.x2) / 2 + right * side
    y = (box.y1 + box.y2) / 2 + down * side
    width, height = scale * box.width / 2, scale * box.height / 2
    return Box(x - width, y - height, x + width, y + height)
