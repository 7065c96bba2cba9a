"""The detector `none`, for images that are already the crop of one face."""

import math
from pathlib import Path
from typing import Self

from app.deadline import NEVER, Deadline
from app.vision.image import Raster
from app.vision.types import Box, Detection


class WholeImageDetector:
    """Returns the whole image as one face, without a score.

    With this `box_scale`, the crop of the classifier is about as large as the image: the models of
    this project have a `crop_scale` of 1.05 to 1.1. An image that is not square is padded
    to a square by repeating the edges.
    """

    name = "none"
    title = "The whole image"
    description = (
        "No detection, for images that are the crop of one face: the whole image is classified. "
        "The face has no score."
    )
    needs_color = False
    min_face_share = 1.0
    max_pixels: float = math.inf
    box_scale = 0.91

    @classmethod
    def load(cls, models_dir: Path, *, threads: int = 1) -> Self:
        return cls()

    def scale_for(self, longer_side: int, min_face_px: float) -> float:
        return 0.0

    def detect(
        self, raster: Raster, min_face_px: float, deadline: Deadline = NEVER
    ) -> list[Detection]:
        """Return one face with the whole image as its box."""
        deadline.check()
        width, height = raster.size_wh
        return [Detection(Box(0.0, 0.0, float(width), float(height)))]
