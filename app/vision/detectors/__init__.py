"""Face detectors. To add one, write a class with the protocol `Detector`; add it to DETECTORS."""

from pathlib import Path
from typing import Protocol, Self

from app.deadline import NEVER, Deadline
from app.vision.detectors.haar import HaarDefaultDetector, HaarDetector
from app.vision.detectors.single_shot import SingleShotDetector
from app.vision.detectors.whole_image import WholeImageDetector
from app.vision.detectors.yunet import YuNetDetector
from app.vision.image import Raster
from app.vision.types import Detection

MAX_ASPECT = 50  # longer over shorter side; see `default_min_face_px`


class Detector(Protocol):
    """`title` and `description` help people to choose. `min_face_share` sets the smallest face
    that the detector searches for by default: see `default_min_face_px`. `max_pixels` is the size
    of the largest image that it can search in the time of a request. Detectors put their boxes
    around different parts of a head: `box_scale` is the side of the square that a classifier's
    `crop_scale` refers to, divided by the longer side of this detector's boxes."""

    name: str
    title: str
    description: str
    needs_color: bool
    min_face_share: float
    max_pixels: float
    box_scale: float

    @classmethod
    def load(cls, models_dir: Path, *, threads: int = 1) -> Self:
        """Load a detector that is ready. `threads` is for detectors that use ONNX Runtime.

        Raises ModelUnavailable where its weights are not in `models_dir` or cannot be used.
        """

    def scale_for(self, longer_side: int, min_face_px: float) -> float:
        """The scale of the image at which the detector finds faces of `min_face_px` pixels of the
        original. `longer_side` is that of the original, in pixels. More than 1 means that the
        faces are too small at any scale."""

    def detect(
        self, raster: Raster, min_face_px: float, deadline: Deadline = NEVER
    ) -> list[Detection]:
        """Faces with boxes in pixels of the original, in no particular order.

        Must be safe to call from several threads at a time, and call `deadline.check` at least once
        a second. Raises DeadlineExceeded, TooMuchWork, and ModelUnavailable if a network fails on
        this image.
        """


def default_min_face_px(share: float, width: int, height: int) -> float:
    """The smallest face to search for by default, in pixels of an image of this size.

    It is `share` of the longer side, or twice that share of the shorter side if that is less: in
    wide and tall images, faces are small compared with the longer side. The shorter side counts as
    at least 1/MAX_ASPECT of the longer side, which limits the time for a long strip.
    """
    longer, shorter = max(width, height), min(width, height)
    return share * min(longer, 2 * max(shorter, longer / MAX_ASPECT))


DETECTORS: dict[str, type[Detector]] = {
    made.name: made
    for made in (
        HaarDetector, HaarDefaultDetector, SingleShotDetector, YuNetDetector, WholeImageDetector,
    )
}  # fmt: skip
