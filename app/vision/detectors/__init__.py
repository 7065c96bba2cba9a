"""Face detectors. To add one: a class with this protocol and a line in DETECTORS."""

from pathlib import Path
from typing import Protocol, Self

from app.deadline import NEVER, Deadline
from app.vision.detectors.haar import HaarDefaultDetector, HaarDetector
from app.vision.detectors.single_shot import SingleShotDetector
from app.vision.detectors.yunet import YuNetDetector
from app.vision.image import Raster
from app.vision.types import Detection


class Detector(Protocol):
    """`title` and `description` are for people who choose. `min_face_share` is the smallest face
    that it looks for unless told otherwise, as a share of the image's longer side. `max_pixels` is
    the largest image that it can search in the time of a request. Detectors put their boxes around
    different parts of a head: `box_scale` is the side of the square that a classifier's
    `crop_scale` refers to, divided by the longer side of this detector's boxes."""

    name: str
    title: str
    description: str
    needs_color: bool
    min_face_share: float
    max_pixels: float
    box_scale: float

    @classmethod
    def load(cls, models_dir: Path) -> Self:
        """One that is ready. Raises ModelUnavailable where its weights are not in `models_dir` or
        cannot be used."""

    def scale_for(self, longer_side: int, min_face_px: float) -> float:
        """The pixels that it needs for one of the original's, in a picture of that longer side, to
        find faces of `min_face_px` pixels; more than 1 where there are never enough."""

    def detect(
        self, raster: Raster, min_face_px: float, deadline: Deadline = NEVER
    ) -> list[Detection]:
        """Faces with boxes in the original's pixels, in no particular order. Must be safe to call
        from several threads at a time, and call `deadline.check` at least once a second.

        Raises TookTooLong, TooMuchWork, and ModelUnavailable when a network fails on this image.
        """


DETECTORS: dict[str, type[Detector]] = {
    made.name: made
    for made in (HaarDetector, HaarDefaultDetector, SingleShotDetector, YuNetDetector)
}
