"""Viola and Jones' cascade of boosted Haar features (CVPR 2001), from OpenCV's own data."""

import threading
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from app.errors import ModelUnavailable
from app.vision.card import detector_folder
from app.vision.classifier import Classifier
from app.vision.image import Raster, shrink
from app.vision.types import Box, Detection

CASCADE = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
WINDOW = 24  # pixels: the side of the smallest face that the cascade knows
SCALE_FACTOR = 1.25
DEFAULT_SCALE_FACTOR, DEFAULT_NEIGHBORS = 1.1, 3  # of OpenCV
FACE = "face"  # the label of the checking network that counts
MIN_SCORE = 0.5
NMS_IOU = 0.3
GROUP_EPS = 0.2  # how far sides may differ within a group, as a share: OpenCV's own value
# A cascade never gives back the buffers of its largest picture, some 8 bytes a pixel (400 MB for 50
# megapixels). Over this size a cascade serves one picture, and one such picture at a time.
KEEP_PIXELS = 500_000

Window = tuple[int, int, int, int]  # x, y, width, height


class Cascade:
    """The cascade for many threads: OpenCV's keeps buffers of the picture at work."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._large = threading.Lock()

    def search(self, gray: NDArray[np.uint8], scale_factor: float) -> list[Window]:
        """Every window that passes."""
        if gray.size <= KEEP_PIXELS:
            if not hasattr(self._local, "cascade"):
                self._local.cascade = _load()
            found = _search(self._local.cascade, gray, scale_factor)
        else:
            with self._large:
                found = _search(_load(), gray, scale_factor)
        return found


def _load() -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(str(CASCADE))


def _search(
    cascade: cv2.CascadeClassifier, gray: NDArray[np.uint8], scale_factor: float
) -> list[Window]:
    """OpenCV holds the integral images of all sizes that it is asked for at a time. Asked for one
    after the other it finds the same, in a sixth of the memory."""
    found = []
    factor = 1.0
    while (side := round(WINDOW * factor)) <= min(gray.shape):
        only = (side, side)
        windows = cascade.detectMultiScale(
            gray, scaleFactor=scale_factor, minNeighbors=0, minSize=only, maxSize=only
        )
        found += [(x, y, side, side) for x, y, *_ in np.asarray(windows).tolist()]
        factor *= scale_factor
    return found


def _grouped(windows: list[Window], *, more_than: int) -> list[Window]:
    """The means of groups of `more_than` so many overlapping windows."""
    return [
        tuple(each)
        for each in np.asarray(cv2.groupRectangles(windows, more_than, GROUP_EPS)[0]).tolist()
    ]


def _cut(windows: list[Window], gray: NDArray[np.uint8]) -> list[Window]:
    """Without what lies beyond the edge, a pixel or two: OpenCV rounds each size by itself."""
    height, width = gray.shape
    return [(x, y, min(w, width - x), min(h, height - y)) for x, y, w, h in windows]


def _box(window: Window, scale: float) -> Box:
    """In the original, of whose pixels a picture has `scale` times as many a side."""
    x, y, width, height = window
    return Box(*(round(edge / scale, 2) for edge in (x, y, x + width, y + height)))


def candidates(cascade: Cascade, raster: Raster, min_face_px: float) -> list[Box]:
    """Everything in `raster` that the cascade takes for a face of at least `min_face_px` pixels of
    the original, also where it does so only once; overlapping windows are one box."""
    scale = min(raster.scale, WINDOW / min_face_px)
    gray = shrink(raster.gray, scale / raster.scale)
    windows = cascade.search(gray, SCALE_FACTOR)
    # OpenCV leaves out groups of one: so every window comes twice.
    groups = _grouped(_cut(windows, gray) * 2, more_than=1)
    return [_box(window, scale) for window in groups]


class HaarDetector:
    """Frontal faces, searched in a picture that is shrunk until the smallest wanted face fills the
    cascade's window: what it costs does not depend on how many pixels the file has.

    The cascade proposes, also what it sees only once; a small network, trained by this project on
    such proposals, says how probably each is a face, which is the score.
    """

    name = "haar"
    description = (
        "Viola-Jones cascade (OpenCV's frontal face), its finds checked by a small network; faces "
        "from 5 % of the longer side"
    )
    needs_color = False
    min_face_share = 0.05
    box_scale = 1.0

    def __init__(self, check: Classifier) -> None:
        self._cascade = Cascade()
        self._check = check

    @classmethod
    def load(cls, models_dir: Path) -> Self:
        """Raises ModelUnavailable where the network is not there or cannot be used."""
        advice = (
            f"copies the folder {cls.name} of this project's models, or sets "
            "EMOTION_DETECTOR=haar_default"
        )
        check = Classifier.load(detector_folder(models_dir, cls.name, advice))
        if FACE not in check.card.labels:
            raise ModelUnavailable(f"the card of {cls.name!r} knows no label {FACE!r}")
        return cls(check)

    def scale_for(self, longer_side: int, min_face_px: float) -> float:
        return WINDOW / min_face_px

    def detect(self, raster: Raster, min_face_px: float) -> list[Detection]:
        """Faces of at least `min_face_px` and at least 24 pixels, with a score of at least
        MIN_SCORE."""
        boxes = candidates(self._cascade, raster, min_face_px)
        found = self._check.classify(raster.gray, [box.scaled(raster.scale) for box in boxes])
        scores = [each[FACE] for each in found]
        # The same face is proposed at several sizes.
        chosen = cv2.dnn.NMSBoxes(
            [(box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1) for box in boxes],
            scores,
            MIN_SCORE,
            NMS_IOU,
        )
        return [Detection(boxes[index], scores[index]) for index in chosen]


class HaarDefaultDetector:
    """What the original service has: OpenCV's default parameters on all pixels of the file, and no
    score."""

    name = "haar_default"
    description = "Viola-Jones cascade (OpenCV's frontal face), default parameters on every pixel"
    needs_color = False
    min_face_share = 0.0
    box_scale = 1.0

    def __init__(self) -> None:
        self._cascade = Cascade()

    @classmethod
    def load(cls, models_dir: Path) -> Self:
        return cls()

    def scale_for(self, longer_side: int, min_face_px: float) -> float:
        return 1.0

    def detect(self, raster: Raster, min_face_px: float) -> list[Detection]:
        """Faces of at least 24 pixels."""
        windows = self._cascade.search(raster.gray, DEFAULT_SCALE_FACTOR)
        groups = _cut(_grouped(windows, more_than=DEFAULT_NEIGHBORS), raster.gray)
        return [Detection(_box(window, raster.scale)) for window in groups]
