"""Face detectors. To add one: a class with this protocol and a line in DETECTORS."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from app.vision.detectors.haar import HaarDetector
from app.vision.types import Detection


class Detector(Protocol):
    name: str
    description: str

    def detect(
        self, image_bgr: NDArray[np.uint8], image_gray: NDArray[np.uint8]
    ) -> list[Detection]:
        """Faces of one picture, given in colour and in grey. Must be safe to call from several
        threads at a time."""


DETECTORS: dict[str, Callable[[], Detector]] = {HaarDetector.name: HaarDetector}
