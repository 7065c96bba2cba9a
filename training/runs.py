"""The folders of runs: where checkpoints are, and how a network starts from one."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.config import Config, TrainingError
from training.nets import NETS

RUNS = Path("runs")
CHECKPOINT = "checkpoint.pt"


def build_net(config: Config) -> nn.Module:
    if config.net not in NETS:
        raise TrainingError(f"unknown net {config.net!r}; known: {', '.join(NETS)}")
    return NETS[config.net](classes=config.classes, **config.net_options)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Raises TrainingError when the file is missing or no whole checkpoint."""
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises half a dozen unrelated types here
        raise TrainingError(f"{path} is not a whole checkpoint: {error}") from error


def averaged_weights(state: dict[str, Any]) -> dict[str, Tensor]:
    """The running average of a checkpoint's weights, by their names in the network."""
    return {
        key.removeprefix("module."): value
        for key, value in state["average"].items()
        if key.startswith("module.")
    }


def begin_from(net: nn.Module, state: dict[str, Any]) -> None:
    """Give `net` the averaged weights of another run; of more classes, those of the first.

    Raises TrainingError when that run trained another net.
    """
    own = net.state_dict()
    theirs = averaged_weights(state)
    try:
        net.load_state_dict(
            {key: value[: len(own[key])] if value.ndim else value for key, value in theirs.items()}
        )
    except (KeyError, RuntimeError) as error:
        raise TrainingError(f"the run {state['config']['name']} is of another net") from error


def begin_from_file(net: nn.Module, path: Path) -> None:
    """Give `net` the weights of a file, but for its `head`; grey nets take the sum over the colours
    of the first convolution.

    Raises TrainingError when the file is missing or holds the weights of another network.
    """
    own = net.state_dict()
    try:
        theirs = torch.load(path, weights_only=True, map_location="cpu")
        for key in own:
            if not key.startswith("head."):
                value = theirs[key].to(own[key].dtype)
                if value.ndim == 4 and value.shape[1] == 3 and own[key].shape[1] == 1:
                    value = value.sum(dim=1, keepdim=True)
                own[key] = value
        net.load_state_dict(own)
    except Exception as error:  # torch raises half a dozen unrelated types here
        raise TrainingError(f"{path} holds no weights for this network: {error}") from error
