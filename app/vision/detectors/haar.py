"""Viola and Jones' cascade of boosted Haar features (CVPR 2001), from OpenCV's own data."""

import threading
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.vision.types import Box, Detection

CASCADE = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"


class HaarDetector:
    """Frontal faces of at least 24 pixels, with OpenCV's default parameters.

    Its detections carry no score: a cascade's level weights are no probabilities.
    """

    name = "haar"
    description = "Viola-Jones cascade (OpenCV's frontal face, default parameters)"

    def __init__(self) -> None:
        # OpenCV's cascade keeps buffers of the picture at work: one for each thread.
        self._local = threading.local()

    def detect(
        self, image_bgr: NDArray[np.uint8], image_gray: NDArray[np.uint8]
    ) -> list[Detection]:
        """Faces in (height, width, 3) `image_bgr` or its grey twin, in no particular order."""
        boxes = self._cascade().detectMultiScale(image_gray)
        return [Detection(Box(x, y, x + w, y + h)) for x, y, w, h in np.asarray(boxes).tolist()]

    def _cascade(self) -> cv2.CascadeClassifier:
        if not hasattr(self._local, "cascade"):
            self._local.cascade = cv2.CascadeClassifier(str(CASCADE))
        cascade: cv2.CascadeClassifier = self._local.cascade
        return cascade
