"""The task `packed_scenes`: single-shot networks that training.detection.train trains.

training.detection.import_run imports the results as a run. The run can be validated and exported,
but training.train cannot continue it.
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
from training.protocols import RunState
from training.runs import RUNS

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class PackedScenes(Validation):
    """The validation split, and the pack in runs/ with the training images."""

    pack: Path
    source: str

    targets_name = (
        "boxes of people and of YuNet; expressions predicted by custom_net_8, mixed with "
        "annotations: votes of FER+ (1/2), one person's label of a portrait (1/4), two annotations "
        "of a face of ExpW by a vision-language model (up to 3/4)"
    )
    # The network is validated only after the training.
    curves: ClassVar[dict[str, str]] = {}

    @property
    def count(self) -> str:
        return f"{self.config.scenes:,} scenes"

    def to(self, device: torch.device) -> Self:
        return self

    def batches(self, run: RunState) -> Iterator[Tensor]:
        raise TrainingError("train this config with python -m training.detection.train")

    def loss(self, run: RunState, batch: Tensor, remaining: float) -> Tensor:
        raise TrainingError("train this config with python -m training.detection.train")

    def calibration_squares(self, count: int) -> NDArray[np.uint8]:
        """Return training scenes (count, side, side, 3) uint8 BGR, the same ones in every
        export."""
        pack = ScenePack.load(self.pack)
        pixels = upload(pack.images(), CPU, threads=1)
        composer = Composer(pack, pixels, CPU, self.config.seed)
        images = composer.batch(count, 0, self.config.input_size).images
        return images.round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def load_packed_scenes(folder: Path, config: Config, with_teachers: bool) -> PackedScenes:
    """Load the data of the task. Raises TrainingError if the pack is missing."""
    path = RUNS / config.pack
    try:
        with np.load(path, allow_pickle=False) as arrays:
            counts = np.bincount(arrays["collection"], minlength=len(COLLECTIONS)).tolist()
    except (OSError, KeyError, ValueError) as error:
        raise TrainingError(
            f"{path} is not a pack of scenes; build it with "
            "python -m training.data.build_scene_pack"
        ) from error
    collections = ", ".join(
        f"{count:,} of {name}" for count, name in zip(counts, COLLECTIONS, strict=True)
    )
    return PackedScenes(
        config=config,
        validation=ValidationImages(folder),
        pack=path,
        source=f"scenes composed from {sum(counts):,} images of training splits: {collections} "
        "(empty: photographs without a face; ferplus: faces of FER+ without validation images)",
    )
