"""The devices that PyTorch can use on this machine."""

import torch

from training.config import TrainingError

AUTO = "auto"


def choose_device(name: str = AUTO) -> torch.device:
    """Return the device with this name. AUTO selects the GPU if there is one, else the CPU.

    Raises TrainingError for a device that this machine does not have.
    """
    if name == AUTO:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch raises either
        raise TrainingError(f"the device {name!r} cannot be used: {error}") from error
