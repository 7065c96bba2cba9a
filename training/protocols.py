"""The interfaces between a training run (training.train) and its task (training.tasks).

The task provides batches, loss and validation figures. The run holds the network and its progress.
Both import this module, and neither imports the other.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from training.config import Config


class RunState(Protocol):
    """The state of a run that a task may read. `generator` is on `device`. `average` is the
    running average of the weights of `net`; its network is `average.module`."""

    config: Config
    device: torch.device
    net: nn.Module
    average: torch.optim.swa_utils.AveragedModel
    generator: torch.Generator
    epoch: int

    def progress(self, epoch: float) -> float:
        """Return the completed share of the schedule."""


class TrainingData(Protocol):
    """Training data with loss and validation figures.

    `size` is the number of images per epoch. `count` and `source` describe the images and
    `targets_name` describes their targets, in words. `curves` maps keys of `validate` to the labels
    of their curves.
    """

    @property
    def size(self) -> int: ...
    @property
    def count(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def targets_name(self) -> str: ...
    @property
    def loss_name(self) -> str: ...
    @property
    def curves(self) -> Mapping[str, str]: ...
    @property
    def steps(self) -> int: ...

    def to(self, device: torch.device) -> Self:
        """Return this data with the tensors that each step needs on `device`."""

    def batches(self, run: RunState) -> Iterable[Any]:
        """Return the batches of one epoch; there are `steps` of them."""

    def loss(self, run: RunState, batch: Any, remaining: float) -> Tensor:
        """Return the loss of a batch. `remaining` is the remaining share of the schedule."""

    def validate(self, run: RunState) -> dict[str, float]:
        """Return the figures of the averaged weights on the validation split."""
