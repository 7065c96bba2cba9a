"""The data of a network that training.detection.timed trained on a pack of scenes.

A run of this task is made by training.detection.adopt. It is measured and exported as any other
run, but training.train cannot continue it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.config import Config, TrainingError
from training.data.scene_pack import COLLECTIONS, ScenePack
from training.data.sources import ValidationImages
from training.detection.composer import Composer
from training.detection.pixels import upload
from training.detection.validation import Validation
from training.learning import Training
from training.runs import RUNS

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class PackedScenes(Validation):
    """The validation split, and the pack in runs/ that the network learned from."""

    pack: Path
    source: str

    targets_name = (
        "boxes of people and of YuNet; expressions by the classifier custom_net_8, mixed with what "
        "is known: half the votes of FER+, a quarter one person's label of a portrait, up to three "
        "quarters two readings of a face of ExpW by a vision-language model"
    )
    # The network is measured after its training only, as it is served.
    curves: ClassVar[dict[str, str]] = {}

    @property
    def count(self) -> str:
        return f"{self.config.scenes:,} scenes"

    def to(self, device: torch.device) -> Self:
        return self

    def batches(self, run: Training) -> Iterator[Tensor]:
        raise TrainingError("train this config with python -m training.detection.timed")

    def loss(self, run: Training, batch: Tensor, left: float) -> Tensor:
        raise TrainingError("train this config with python -m training.detection.timed")

    def calibration_squares(self, count: int) -> NDArray[np.uint8]:
        """Training scenes (count, side, side, 3) uint8 BGR, the same every time."""
        pack = ScenePack.load(self.pack)
        pixels = upload(pack.images(), CPU, threads=1)
        composer = Composer(pack, pixels, CPU, self.config.seed)
        images = composer.batch(count, 0, self.config.input_size).images
        return images.round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def load_packed_scenes(folder: Path, config: Config, taught: bool) -> PackedScenes:
    """Raises TrainingError for a pack that is missing."""
    path = RUNS / config.pack
    try:
        with np.load(path, allow_pickle=False) as arrays:
            counts = np.bincount(arrays["collection"], minlength=len(COLLECTIONS)).tolist()
    except (OSError, KeyError, ValueError) as error:
        raise TrainingError(
            f"{path} is no pack of scenes; build it with python -m training.data.build_scene_pack"
        ) from error
    made_of = ", ".join(
        f"{count:,} of {name}" for count, name in zip(counts, COLLECTIONS, strict=True)
    )
    return PackedScenes(
        config=config,
        validation=ValidationImages(folder),
        pack=path,
        source=f"scenes composed of {sum(counts):,} images of training splits: {made_of} (empty: "
        "photographs without a face; ferplus: faces of FER+ that are not in validation)",
    )
