"""What a task and a training run know of each other, and the processor that both use.

A task (training.tasks) makes the batches, the loss and the figures; a run (training.train) holds
the network and its progress. Both import this module and neither imports the other.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from training.config import Config, TrainingError

AUTO = "auto"


def choose_device(name: str = AUTO) -> torch.device:
    """The device of that name; AUTO is the GPU where there is one, else the CPU.

    Raises TrainingError for a device that this machine does not have.
    """
    if name == AUTO:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch raises either
        raise TrainingError(f"the device {name!r} cannot be used: {error}") from error


class Training(Protocol):
    """The state of a run that a task may read. `generator` lives on `device`; `average` is the
    running average of the weights of `net`, with the network itself as `average.module`."""

    config: Config
    device: torch.device
    net: nn.Module
    average: torch.optim.swa_utils.AveragedModel
    generator: torch.Generator
    epoch: int

    def progress(self, epoch: float) -> float:
        """The share of the schedule that is over."""


class Data(Protocol):
    """What a run learns from, its loss and its figures. `size` is the number of images of an
    epoch, `count` and `source` describe them, `targets_name` describes their targets, and `curves`
    maps figures of `validate` to the labels of their curves."""

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
        """This data with the tensors that every step needs on `device`."""

    def batches(self, run: Training) -> Iterable[Any]:
        """The `steps` batches of one epoch."""

    def loss(self, run: Training, batch: Any, left: float) -> Tensor:
        """The loss of one batch; `left` is the share of the schedule that is left."""

    def validate(self, run: Training) -> dict[str, float]:
        """Figures of the averaged weights on the validation split."""
