"""Scenes that a one-pass network learns from, composed on the CPU while it trains."""

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
from training.data.marked_images import MarkedImage
from training.data.scenes import Sources, scene
from training.data.sources import Teaching, ValidationImages, training_sources
from training.detection.heads import Batch
from training.detection.losses import Marks
from training.detection.validation import Validation
from training.learning import Training

EXPRESSION_WEIGHT = 1.0
CALM = 0.15  # of the schedule, its end: without mosaics
WORKERS = 2
AHEAD = 4  # batches


@dataclass(frozen=True, kw_only=True)
class Scenes(Validation):
    """Scenes to learn from, and the validation split.

    `seed` and the number of a scene make it. `source` describes the images that scenes are made of.
    """

    sources: Sources
    source: str

    targets_name = (
        "boxes of people and of YuNet; the expressions that people said, of faces pasted from FER+ "
        "cleaned votes, of photographs the teachers' mean where it is decided"
    )

    @property
    def count(self) -> str:
        return f"{self.config.scenes:,} scenes an epoch"

    def to(self, device: torch.device) -> Self:
        """This data: scenes are made on the CPU, and `loss` moves them."""
        return self

    def batches(self, run: Training) -> Iterator[tuple[Tensor, Marks]]:
        """The scenes of an epoch, made by threads while the net learns: OpenCV lets go of Python's
        lock. (It does not survive a fork, so processes are no choice.)"""
        size, first = self.config.batch_size, run.epoch * self.config.scenes
        starts = range(first, first + self.steps * size, size)
        progress = run.progress(run.epoch)
        side = self.config.side_at(progress)
        make = partial(self._batch, side=side, mosaics=progress < 1 - CALM)
        with ThreadPoolExecutor(WORKERS) as pool:
            ahead: deque[Future[tuple[Tensor, Marks]]] = deque()
            for start in starts:
                ahead.append(pool.submit(make, start))
                if len(ahead) > AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _batch(self, start: int, *, side: int, mosaics: bool) -> tuple[Tensor, Marks]:
        numbers = range(start, start + self.config.batch_size)
        seed = self.config.seed
        return collate(
            [scene(self.sources, each, side=side, seed=seed, mosaics=mosaics) for each in numbers]
        )

    def loss(self, run: Training, batch: tuple[Tensor, Marks], left: float) -> Tensor:
        images, marks = batch
        images, marks = images.to(run.device), marks.to(run.device)
        made = Batch(images.float().to(memory_format=torch.channels_last), marks)
        weights = torch.ones(marks.targets.shape[2], device=run.device)
        with torch.autocast(run.device.type, torch.bfloat16):
            losses = self.head.losses(run.net, made, weights, run.generator)
        return losses.total(EXPRESSION_WEIGHT)


def collate(made: Sequence[MarkedImage]) -> tuple[Tensor, Marks]:
    """Images (n, 3, side, side) uint8 and what is true of them, padded to as many faces."""
    most = max(1, *(len(each.boxes) for each in made))
    classes = made[0].targets.shape[1]
    faces, targets = torch.zeros(len(made), most, 4), torch.zeros(len(made), most, classes)
    real, sure = (torch.zeros(len(made), most, dtype=torch.bool) for _ in range(2))
    for row, each in enumerate(made):
        count = len(each.boxes)
        faces[row, :count] = torch.from_numpy(each.boxes)
        targets[row, :count] = torch.from_numpy(each.targets)
        real[row, :count] = True
        sure[row, :count] = torch.from_numpy(each.sure)
    images = torch.from_numpy(np.stack([each.image for each in made])).permute(0, 3, 1, 2)
    return images, Marks(faces, real, sure, targets)


def load_scenes(folder: Path, config: Config, taught: bool) -> Scenes:
    """Everything in memory. Without `taught` the teachers are not asked. Raises what
    `training_sources` raises."""
    cv2.setNumThreads(1)  # scenes are made by threads of their own
    teaching = None
    if config.teachers and taught:
        teachers = [Path(each) for each in config.teachers]
        teaching = Teaching(teachers, config.teacher_share, torch.get_num_threads())
    sources = training_sources(folder, teaching, seed=config.seed)
    counts = {name: len(each.images) for name, each in vars(sources).items() if name != "views"}
    views = sum(len(each.images) for _, each in sources.views)
    return Scenes(
        sources=sources,
        validation=ValidationImages(folder),
        config=config,
        source=f"scenes made of {views:,} pictures of natural, crowds and lfw-expressions "
        f"({counts['empty']:,} without faces, {counts['portraits']:,} portraits; training splits) "
        f"and of {counts['crops']:,} faces of FER+'s training split that are not in validation",
    )
