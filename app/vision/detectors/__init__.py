"""Face detectors.

To add a detector, write a class with the protocol `Detector` and add it to DETECTORS.
"""

from pathlib import Path
from typing import Protocol, Self

from app.deadline import NEVER, Deadline
from app.vision.detectors.haar import HaarDefaultDetector, HaarDetector
from app.vision.detectors.single_shot import SingleShotDetector
from app.vision.detectors.whole_image import WholeImageDetector
from app.vision.detectors.yunet import YuNetDetector
from app.vision.image import Raster
from app.vision.types import Detection

MAX_ASPECT = 50  # limit of the ratio of the sides: see `default_min_face_px`


class Detector(Protocol):
    """Finds faces in an image.

    `title` and `description` are shown to users.
    `needs_color` is True if `detect` needs the colours of the image.
    `min_face_share` determines the default of `min_face_px`: see `default_min_face_px`.
    `max_pixels` is the maximum number of pixels of an image; larger images take too long.
    `box_scale` corrects for the size of the boxes, because detectors draw boxes of different size
    around the same head. A classifier crops a square with the side
    `crop_scale` × `box_scale` × the longer side of the box.
    """

    name: str
    title: str
    description: str
    needs_color: bool
    min_face_share: float
    max_pixels: float
    box_scale: float

    @classmethod
    def load(cls, models_dir: Path, *, threads: int = 1) -> Self:
        """Load the detector. `threads` is the number of threads for detectors that use ONNX
        Runtime.

        Raises ModelUnavailable if the weights are not in `models_dir` or cannot be used.
        """

    def scale_for(self, longer_side: int, min_face_px: float) -> float:
        """Return the scale at which to read the image, so that the detector finds faces with a side
        of `min_face_px` pixels in the original. `longer_side` is the longer side of the original in
        pixels. A value above 1 means that the faces are too small even at full resolution."""

    def detect(
        self, raster: Raster, min_face_px: float, deadline: Deadline = NEVER
    ) -> list[Detection]:
        """Find faces. Returns detections in pixels of the original, in any order.

        Implementations must be thread-safe and call `deadline.check` at least once per second.
        Raises DeadlineExceeded, TooMuchWork, and ModelUnavailable if a network fails on the image.
        """


def default_min_face_px(share: float, width: int, height: int) -> float:
    """Return the default of `min_face_px` for an image of this size in pixels.

    It is the smaller of two values: `share` of the longer side, and twice this share of the shorter
    side. The second value applies to wide and tall images, in which faces are small compared with
    the longer side. The shorter side counts as at least 1/MAX_ASPECT of the longer side, which
    limits the time for a long strip.
    """
    longer, shorter = max(width, height), min(width, height)
    return share * min(longer, 2 * max(shorter, longer / MAX_ASPECT))


DETECTORS: dict[str, type[Detector]] = {
    detector.name: detector
    for detector in (
        HaarDetector, HaarDefaultDetector, SingleShotDetector, YuNetDetector, WholeImageDetector,
    )
}  # fmt: skip

DEFAULT = HaarDetector.name  # of the API: clients of the original service rely on its detector
# For people who choose no detector, on the page and in the command `emotions`: of the detectors
# with weights in this repository, the one that finds the most faces (docs/wild.md).
RECOMMENDED = SingleShotDetector.name
