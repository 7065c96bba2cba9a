"""The single-shot network of this project as a detector for use with a classifier."""

import math
from pathlib import Path
from typing import Self

from app.deadline import NEVER, Deadline
from app.vision.card import detector_folder
from app.vision.image import Raster
from app.vision.single_shot import SingleShotNet
from app.vision.types import Detection


class SingleShotDetector:
    """Finds faces with the single-shot network.

    The emotion scores of the network are ignored. The classifier computes them from a crop with
    more pixels per face.
    """

    name = "single_shot"
    title = "Single-shot network"
    description = "A small network trained by this project. Finds faces in any pose and with masks."
    needs_color = True
    min_face_share = 0.05
    max_pixels: float = math.inf
    box_scale = 0.92

    def __init__(self, net: SingleShotNet) -> None:
        self.net = net

    @classmethod
    def load(cls, models_dir: Path, *, threads: int = 1) -> Self:
        """Load the detector with a separate network.

        The engine does not call this method: it creates the detector with the network of the
        single-shot pipeline, so that both share one network.

        Raises ModelUnavailable if the network is missing or cannot be used.
        """
        return cls(SingleShotNet.load(cls.folder(models_dir), threads=threads))

    @classmethod
    def folder(cls, models_dir: Path) -> Path:
        """Return the folder of the network. Raises ModelUnavailable if the folder is missing."""
        advice = f"copy models/{cls.name} from the repository to EMOTION_MODELS_DIR"
        return detector_folder(models_dir, cls.name, advice)

    def scale_for(self, longer_side: int, min_face_px: float) -> float:
        return self.net.size_for(longer_side, min_face_px) / longer_side

    def detect(
        self, raster: Raster, min_face_px: float, deadline: Deadline = NEVER
    ) -> list[Detection]:
        """Find faces with a score of at least app.vision.single_shot.MIN_SCORE."""
        return [detection for detection, _ in self.net.find(raster, min_face_px, deadline)]
