"""The folders of training runs, their checkpoints, and the initial weights of networks."""

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
    """Read a checkpoint. Raises TrainingError if the file is missing or incomplete."""
    try:
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises several unrelated types
        raise TrainingError(f"{path} is not a complete checkpoint: {error}") from error


def averaged_weights(state: dict[str, Any]) -> dict[str, Tensor]:
    """Return the running average of the weights in a checkpoint, by name in the network."""
    return {
        key.removeprefix("module."): value
        for key, value in state["average"].items()
        if key.startswith("module.")
    }


def load_averaged(net: nn.Module, state: dict[str, Any]) -> None:
    """Load the averaged weights of another run into `net`. If the run has more classes, the weights
    of the first classes are loaded.

    Raises TrainingError if the run trained another network.
    """
    initial = net.state_dict()
    weights = averaged_weights(state)
    try:
        net.load_state_dict(
            {
                key: value[: len(initial[key])] if value.ndim else value
                for key, value in weights.items()
            }
        )
    except (KeyError, RuntimeError) as error:
        raise TrainingError(f"the run {state['config']['name']} trained another network") from error


def load_pretrained(net: nn.Module, path: Path) -> None:
    """Load the weights of a file into `net`, except those of its `head`. For a network with grey
    input, the weights of the first convolution are summed over the colour channels.

    Raises TrainingError if the file is missing or has the weights of another network.
    """
    weights = net.state_dict()
    try:
        pretrained = torch.load(path, weights_only=True, map_location="cpu")
        for key in weights:
            if not key.startswith("head."):
                value = pretrained[key].to(weights[key].dtype)
                if value.ndim == 4 and value.shape[1] == 3 and weights[key].shape[1] == 1:
                    value = value.sum(dim=1, keepdim=True)
                weights[key] = value
        net.load_state_dict(weights)
    except Exception as error:  # torch raises several unrelated types
        raise TrainingError(f"{path} has no weights for this network: {error}") from error
