"""Detectors that use OpenCV's Haar cascade: see cascade.py."""

import math
from pathlib import Path
from typing import NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from app.deadline import NEVER, Deadline
from app.errors import ModelUnavailable
from app.vision.card import detector_folder
from app.vision.classifier import Classifier
from app.vision.detectors.cascade import WINDOW, Cascade, Window, scale_factors
from app.vision.image import Raster, shrink
from app.vision.types import Box, Detection

# The search stops after STAGES stages of the cascade and lets the verification network decide. Its
# sizes and positions can therefore be far apart: more windows of each face pass the first stages.
STAGES = 16
SCALE_FACTOR = 1.35
# From this factor on, the sizes are closer together. Large windows cost little.
LARGE_FACTOR = 3.0
DEFAULT_SCALE_FACTOR, DEFAULT_NEIGHBORS = 1.1, 3  # OpenCV's defaults
FACE = "face"  # the label of the verification network whose score is used
MIN_SCORE = 0.5
# Candidates of few windows are more often false, so they need a higher score: minimum by number of
# windows.
MIN_SCORE_OF_FEW = {1: 0.9, 2: 0.75}
NMS_IOU = 0.3
GROUP_EPS = 0.2  # relative difference of sides within a group; the value that OpenCV uses
# Grouping compares each window with all others and takes up to a second at these limits. In `haar`,
# photographs of 0.2 megapixels have 27 windows on average, and large images in full resolution have
# more in proportion. In `haar_default`, a face has about 40. Both limits allow 300 faces.
MAX_WINDOWS = 10_000
DEFAULT_MAX_WINDOWS = 16_000
DEFAULT_MAX_PIXELS = 20_000_000  # 10 to 20 s of CPU time


class Candidate(NamedTuple):
    """A box that can be a face, in pixels of the original, and the number of its windows."""

    box: Box
    windows: int


def _grouped(windows: list[Window], *, more_than: int) -> list[tuple[Window, int]]:
    """Group overlapping windows and return the mean window and the number of windows of each group.

    Groups of at most `more_than` windows are excluded.
    """
    means, counts = cv2.groupRectangles(windows, more_than, GROUP_EPS)
    return [
        (tuple(mean), count)
        for mean, count in zip(
            np.asarray(means).tolist(), np.asarray(counts).ravel().tolist(), strict=True
        )
    ]


def _clipped(windows: list[Window], gray: NDArray[np.uint8]) -> list[Window]:
    """Clip the windows to the image. They can exceed it by a pixel or two, because OpenCV rounds
    the position and the size separately."""
    height, width = gray.shape
    return [(x, y, min(w, width - x), min(h, height - y)) for x, y, w, h in windows]


def _box(window: Window, scale: float) -> Box:
    """Convert a window of an image of this scale to a box in pixels of the original."""
    x, y, width, height = window
    return Box(*(round(edge / scale, 2) for edge in (x, y, x + width, y + height)))


def candidate_cascade() -> Cascade:
    """Return the cascade that proposes candidates."""
    return Cascade(stages=STAGES, fine=False)


def candidates(
    cascade: Cascade, raster: Raster, min_face_px: float, deadline: Deadline = NEVER
) -> list[Candidate]:
    """Return the candidates of the cascade: boxes of at least `min_face_px` pixels of the original.

    `cascade` comes from `candidate_cascade`. A single window is sufficient for a candidate.
    Overlapping windows become one box. Raises the errors of `Cascade.search`.
    """
    scale = min(raster.scale, WINDOW / min_face_px)
    gray = shrink(raster.gray, scale / raster.scale)
    factors = scale_factors(SCALE_FACTOR, large=LARGE_FACTOR)
    windows = cascade.search(gray, factors, max_windows=MAX_WINDOWS, deadline=deadline)
    # groupRectangles drops groups of one window, so pass every window twice.
    groups = _grouped(_clipped(windows, gray) * 2, more_than=1)
    return [Candidate(_box(window, scale), count // 2) for window, count in groups]


class HaarDetector:
    """Finds frontal faces with the cascade and a small verification network.

    The image is reduced until the smallest face to search for has the size of the cascade's window.
    The cost therefore does not depend on the resolution of the file. The cascade proposes
    candidates. The network, which this project trained on such candidates, computes the probability
    that a candidate is a face. This probability is the detection score.
    """

    name = "haar"
    title = "Viola-Jones (as the original service)"
    description = (
        "OpenCV's cascade for upright frontal faces, the method of the original service; a small "
        "network rejects false detections."
    )
    needs_color = False
    min_face_share = 0.05
    max_pixels: float = math.inf
    box_scale = 1.0

    def __init__(self, verifier: Classifier) -> None:
        self._cascade = candidate_cascade()
        self._verifier = verifier

    @classmethod
    def load(cls, models_dir: Path, *, threads: int = 1) -> Self:
        """Load the detector. Raises ModelUnavailable if the network is missing or cannot be
        used."""
        advice = (
            f"copy models/{cls.name} from the repository to EMOTION_MODELS_DIR, or set "
            "EMOTION_DETECTOR=haar_default"
        )
        verifier = Classifier.load(detector_folder(models_dir, cls.name, advice), threads=threads)
        if FACE not in verifier.card.labels:
            raise ModelUnavailable(f"the card of {cls.name!r} must have the label {FACE!r}")
        return cls(verifier)

    def scale_for(self, longer_side: int, min_face_px: float) -> float:
        return WINDOW / min_face_px

    def detect(
        self, raster: Raster, min_face_px: float, deadline: Deadline = NEVER
    ) -> list[Detection]:
        """Find faces of at least `min_face_px` and at least 24 pixels, with a score of at least
        MIN_SCORE. Raises TooMuchWork for more than MAX_WINDOWS windows."""
        found = candidates(self._cascade, raster, min_face_px, deadline)
        verified = self._verifier.classify(
            raster.gray, [each.box.scaled(raster.scale) for each in found], deadline=deadline
        )
        kept = [
            (each.box, scores[FACE])
            for each, scores in zip(found, verified, strict=True)
            if scores[FACE] >= MIN_SCORE_OF_FEW.get(each.windows, MIN_SCORE)
        ]
        boxes, scores = [box for box, _ in kept], [score for _, score in kept]
        # One face can have several candidates of different sizes.
        indices = cv2.dnn.NMSBoxes(
            [(box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1) for box in boxes],
            scores,
            MIN_SCORE,
            NMS_IOU,
        )
        return [Detection(boxes[index], scores[index]) for index in indices]


class HaarDefaultDetector:
    """The detector of the original service: OpenCV's default parameters at full resolution, without
    scores."""

    name = "haar_default"
    title = "Viola-Jones without verification"
    description = (
        "OpenCV's cascade with its default parameters at full resolution: the boxes of the "
        "original service, with its false detections. For images of up to 20 megapixels."
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
        """Find faces of at least 24 pixels. Raises TooMuchWork for more than DEFAULT_MAX_WINDOWS
        windows."""
        windows = self._cascade.search(
            raster.gray,
            scale_factors(DEFAULT_SCALE_FACTOR),
            max_windows=DEFAULT_MAX_WINDOWS,
            deadline=deadline,
        )
        means = [mean for mean, _ in _grouped(windows, more_than=DEFAULT_NEIGHBORS)]
        return [Detection(_box(mean, raster.scale)) for mean in _clipped(means, raster.gray)]
