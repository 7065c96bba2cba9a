"""Reads the weights and the log that training.detection.train writes."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from training.config import TrainingError
from training.detection.losses import BOX_WEIGHT

AVERAGE, SNAPSHOT = "average", "snapshot"  # keys of the files
LOG = "train.log"


def read_weights(folder: Path, name: str, *, part: str = AVERAGE) -> dict[str, Tensor]:
    """Read the weights that the run `name` wrote to `folder`, as 32-bit floats. For single_shot,
    `part` can be SNAPSHOT: the weights at SNAPSHOT_AT of train.py. Raises TrainingError."""
    weights: dict[str, Tensor] = {}
    paths = sorted(folder.glob(f"{name}.*pt"))
    states = [torch.load(path, weights_only=True, map_location="cpu") for path in paths]
    if not states or len(states) != states[0]["parts"]:
        raise TrainingError(f"{folder} does not have all weights of {name}")
    for state in states:
        weights |= state[part]
    return {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}


@dataclass(frozen=True)
class LogRow:
    seconds: float
    step: int
    loss: float


_LOG_ROW = re.compile(r"(\w+): +([\d.]+) \d+ % step (\d+) losses ([\d.]+) ([\d.]+) ([\d.]+) ")


def read_log(folder: Path, name: str) -> list[LogRow]:
    """Read the losses that the run `name` logged to `folder`."""
    rows = []
    for line in (folder / LOG).read_text("utf-8").splitlines():
        match = _LOG_ROW.match(line)
        if match and match[1] == name:
            objectness, box, expression = map(float, match.groups()[3:])
            total = objectness + BOX_WEIGHT * box + expression
            rows.append(LogRow(float(match[2]), int(match[3]), total))
    return rows
