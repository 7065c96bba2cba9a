"""Viola and Jones' cascade of boosted Haar features (CVPR 2001), from OpenCV's own data."""

import threading
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.vision.types import Box, Detection

CASCADE = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
# A cascade never gives back the buffers of its largest picture, some 50 bytes a pixel (2.5 GB for
# 50 megapixels). Over this size a cascade serves one picture, and one such picture at a time.
KEEP_PIXELS = 2_000_000


class HaarDetector:
    """Frontal faces of at least 24 pixels, with OpenCV's default parameters.

    Its detections carry no score: a cascade's level weights are no probabilities.
    """

    name = "haar"
    description = "Viola-Jones cascade (OpenCV's frontal face, default parameters)"

    def __init__(self) -> None:
        # OpenCV's cascade keeps buffers of the picture at work: one for each thread.
        self._local = threading.local()
        self._large = threading.Lock()

    def detect(
        self, image_bgr: NDArray[np.uint8], image_gray: NDArray[np.uint8]
    ) -> list[Detection]:
        """Faces in (height, width, 3) `image_bgr` or its grey twin, in no particular order."""
        if image_gray.size <= KEEP_PIXELS:
            if not hasattr(self._local, "cascade"):
                self._local.cascade = _load_cascade()
            return _detect(self._local.cascade, image_gray)
        with self._large:
            return _detect(_load_cascade(), image_gray)


def _load_cascade() -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(str(CASCADE))


def _detect(cascade: cv2.CascadeClassifier, image_gray: NDArray[np.uint8]) -> list[Detection]:
    boxes = np.asarray(cascade.detectMultiScale(image_gray)).tolist()
    return [Detection(Box(x, y, x + width, y + height)) for x, y, width, height in boxes]
