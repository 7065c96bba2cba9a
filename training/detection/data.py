"""Training data of single-shot networks: scenes that are composed on the CPU during training."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import torch
from torch import Tensor

from training.config import Config
from training.data.annotated_images import AnnotatedImage
from training.data.scenes import Sources, scene
from training.data.sources import Teachers, ValidationImages, training_sources
from training.detection.heads import Batch
from training.detection.losses import GroundTruth
from training.detection.validation import Validation
from training.protocols import RunState

EXPRESSION_WEIGHT = 1.0
FINAL_SHARE = 0.15  # last share of the schedule, in which scenes have no mosaics
WORKERS = 2
PREFETCH = 4  # batches


@dataclass(frozen=True, kw_only=True)
class Scenes(Validation):
    """Training scenes, and the validation split.

    A scene depends on its number and the seed of the configuration. `source` describes the images
    that scenes are composed from.
    """

    sources: Sources
    source: str

    targets_name = (
        "boxes of people and of YuNet; expressions: annotations of people, cleaned votes for faces "
        "of FER+, and the mean prediction of the teachers for photographs, unless it is undecided"
    )

    @property
    def count(self) -> str:
        return f"{self.config.scenes:,} scenes per epoch"

    def to(self, device: torch.device) -> Self:
        """Return self. Scenes are composed on the CPU, and `loss` moves them to the device."""
        return self

    def batches(self, run: RunState) -> Iterator[tuple[Tensor, GroundTruth]]:
        """Compose the scenes of an epoch in threads during training. OpenCV releases the global
        interpreter lock. It does not work in forked processes."""
        size, first = self.config.batch_size, run.epoch * self.config.scenes
        starts = range(first, first + self.steps * size, size)
        progress = run.progress(run.epoch)
        side = self.config.side_at(progress)
        make = partial(self._batch, side=side, mosaics=progress < 1 - FINAL_SHARE)
        with ThreadPoolExecutor(WORKERS) as pool:
            futures: deque[Future[tuple[Tensor, GroundTruth]]] = deque()
            for start in starts:
                futures.append(pool.submit(make, start))
                if len(futures) > PREFETCH:
                    yield futures.popleft().result()
            while futures:
                yield futures.popleft().result()

    def _batch(self, start: int, *, side: int, mosaics: bool) -> tuple[Tensor, GroundTruth]:
        numbers = range(start, start + self.config.batch_size)
        seed = self.config.seed
        return collate(
            [scene(self.sources, each, side=side, seed=seed, mosaics=mosaics) for each in numbers]
        )

    def loss(self, run: RunState, batch: tuple[Tensor, GroundTruth], remaining: float) -> Tensor:
        images, truth = batch
        images, truth = images.to(run.device), truth.to(run.device)
        float_batch = Batch(images.float().to(memory_format=torch.channels_last), truth)
        weights = torch.ones(truth.targets.shape[2], device=run.device)
        with torch.autocast(run.device.type, torch.bfloat16):
            losses = self.head.losses(run.net, float_batch, weights, run.generator)
        return losses.total(EXPRESSION_WEIGHT)


def collate(scenes: Sequence[AnnotatedImage]) -> tuple[Tensor, GroundTruth]:
    """Return the images (n, 3, side, side) uint8 and their faces, padded to an equal number."""
    most = max(1, *(len(each.boxes) for each in scenes))
    classes = scenes[0].targets.shape[1]
    boxes, targets = torch.zeros(len(scenes), most, 4), torch.zeros(len(scenes), most, classes)
    valid, sure = (torch.zeros(len(scenes), most, dtype=torch.bool) for _ in range(2))
    for row, each in enumerate(scenes):
        count = len(each.boxes)
        boxes[row, :count] = torch.from_numpy(each.boxes)
        targets[row, :count] = torch.from_numpy(each.targets)
        valid[row, :count] = True
        sure[row, :count] = torch.from_numpy(each.sure)
    images = torch.from_numpy(np.stack([each.image for each in scenes])).permute(0, 3, 1, 2)
    return images, GroundTruth(boxes, valid, sure, targets)


def load_scenes(folder: Path, config: Config, with_teachers: bool) -> Scenes:
    """Load all images into memory. Without `with_teachers`, expressions are not predicted. Raises
    the errors of `training_sources`."""
    cv2.setNumThreads(1)  # several threads compose scenes
    teachers = None
    if config.teachers and with_teachers:
        folders = [Path(each) for each in config.teachers]
        teachers = Teachers(folders, config.teacher_share, torch.get_num_threads())
    sources = training_sources(folder, teachers, seed=config.seed)
    counts = {name: len(each.images) for name, each in vars(sources).items() if name != "views"}
    views = sum(len(each.images) for _, each in sources.views)
    return Scenes(
        sources=sources,
        validation=ValidationImages(folder),
        config=config,
        source=f"scenes composed from {views:,} images of natural, crowds and lfw-expressions "
        f"({counts['empty']:,} without faces, {counts['portraits']:,} portraits; training splits) "
        f"and {counts['crops']:,} faces of FER+'s training split, without validation images",
    )
