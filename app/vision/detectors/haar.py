"""The detectors that use OpenCV's Haar cascade: see cascade.py."""

import math
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from app.deadline import NEVER, Deadline
from app.errors import ModelUnavailable
from app.vision.card import detector_folder
from app.vision.classifier import Classifier
from app.vision.detectors.cascade import WINDOW, Cascade, Window
from app.vision.image import Raster, shrink
from app.vision.types import Box, Detection

SCALE_FACTOR = 1.25
DEFAULT_SCALE_FACTOR, DEFAULT_NEIGHBORS = 1.1, 3  # of OpenCV
FACE = "face"  # the label of the checking network that counts
MIN_SCORE = 0.5
NMS_IOU = 0.3
GROUP_EPS = 0.2  # how far sides may differ within a group, as a share: OpenCV's own value
# Grouping compares each window with all others, which takes half a second for so many. A face has
# about 18 windows at the scale factor 1.25 and about 40 at 1.1, so both limits allow 300 faces.
MAX_WINDOWS = 6_000
DEFAULT_MAX_WINDOWS = 16_000
DEFAULT_MAX_PIXELS = 20_000_000  # 10 to 20 s of CPU


def _grouped(windows: list[Window], *, more_than: int) -> list[Window]:
    """The mean window of each group of more than `more_than` overlapping windows."""
    return [
        tuple(each)
        for each in np.asarray(cv2.groupRectangles(windows, more_than, GROUP_EPS)[0]).tolist()
    ]


def _cut(windows: list[Window], gray: NDArray[np.uint8]) -> list[Window]:
    """Cut the windows at the edges of the image. They exceed it by a pixel or two, because OpenCV
    rounds each size separately."""
    height, width = gray.shape
    return [(x, y, min(w, width - x), min(h, height - y)) for x, y, w, h in windows]


def _box(window: Window, scale: float) -> Box:
    """The box in pixels of the original of a window in an image of this scale."""
    x, y, width, height = window
    return Box(*(round(edge / scale, 2) for edge in (x, y, x + width, y + height)))


def candidates(
    cascade: Cascade, raster: Raster, min_face_px: float, deadline: Deadline = NEVER
) -> list[Box]:
    """Boxes of everything in `raster` that the cascade takes for a face of at least `min_face_px`
    pixels of the original, even in a single window. Overlapping windows make one box.

    Raises what `Cascade.search` raises.
    """
    scale = min(raster.scale, WINDOW / min_face_px)
    gray = shrink(raster.gray, scale / raster.scale)
    windows = cascade.search(gray, SCALE_FACTOR, max_windows=MAX_WINDOWS, deadline=deadline)
    # OpenCV drops groups of one window, so every window is passed twice.
    groups = _grouped(_cut(windows, gray) * 2, more_than=1)
    return [_box(window, scale) for window in groups]


class HaarDetector:
    """Finds frontal faces in an image that is shrunk until the smallest face fills the cascade's
    window. The cost therefore does not depend on the number of pixels in the file.

    The cascade proposes candidates. A small network, which this project trained on such candidates,
    gives each the probability that it is a face, which is the score.
    """

    name = "haar"
    title = "Haar cascade with verification"
    description = (
        "OpenCV's cascade for upright frontal faces; a small network rejects false detections."
    )
    needs_color = False
    min_face_share = 0.05
    max_pixels: float = math.inf
    box_scale = 1.0

    def __init__(self, check: Classifier) -> None:
        self._cascade = Cascade()
        self._check = check

    @classmethod
    def load(cls, models_dir: Path, *, threads: int = 1) -> Self:
        """Raises ModelUnavailable if the network is missing or cannot be used."""
        advice = (
            f"copy the folder {cls.name} of this project's models, or set "
            "EMOTION_DETECTOR=haar_default"
        )
        check = Classifier.load(detector_folder(models_dir, cls.name, advice), threads=threads)
        if FACE not in check.card.labels:
            raise ModelUnavailable(f"the card of {cls.name!r} knows no label {FACE!r}")
        return cls(check)

    def scale_for(self, longer_side: int, min_face_px: float) -> float:
        return WINDOW / min_face_px

    def detect(
        self, raster: Raster, min_face_px: float, deadline: Deadline = NEVER
    ) -> list[Detection]:
        """Faces of at least `min_face_px` and at least 24 pixels, with a score of at least
        MIN_SCORE. Raises TooMuchWork for more than MAX_WINDOWS candidates."""
        boxes = candidates(self._cascade, raster, min_face_px, deadline)
        found = self._check.classify(
            raster.gray, [box.scaled(raster.scale) for box in boxes], deadline=deadline
        )
        scores = [each[FACE] for each in found]
        # A face is often a candidate at several sizes.
        chosen = cv2.dnn.NMSBoxes(
            [(box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1) for box in boxes],
            scores,
            MIN_SCORE,
            NMS_IOU,
        )
        return [Detection(boxes[index], scores[index]) for index in chosen]


class HaarDefaultDetector:
    """The detector of the original service: OpenCV's default parameters on all pixels of the file,
    without scores."""

    name = "haar_default"
    title = "Haar cascade with OpenCV's defaults"
    description = (
        "OpenCV's cascade for upright frontal faces with its default parameters, at full "
        "resolution. For images of up to 20 megapixels."
    )
    needs_color = False
    min_face_share = 0.0
    max_pixels: float = DEFAULT_MAX_PIXELS
    box_scale = 1.0

    def __init__(self) -> None:
        self._cascade = Cascade()

    @classmethod
    def load(cls, models_dir: Path, *, threads: int = 1) -> Self:
        return cls()

    def scale_for(self, longer_side: int, min_face_px: float) -> float:
        return 1.0

    def detect(
        self, raster: Raster, min_face_px: float, deadline: Deadline = NEVER
    ) -> list[Detection]:
        """Faces of at least 24 pixels. Raises TooMuchWork for more than DEFAULT_MAX_WINDOWS
        candidates."""
        windows = self._cascade.search(
            raster.gray, DEFAULT_SCALE_FACTOR, max_windows=DEFAULT_MAX_WINDOWS, deadline=deadline
        )
        groups = _cut(_grouped(windows, more_than=DEFAULT_NEIGHBORS), raster.gray)
        return [Detection(_box(window, raster.scale)) for window in groups]
