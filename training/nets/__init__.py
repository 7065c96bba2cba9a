"""The networks a config can name: `net = "custom_net"` and its keyword arguments."""

from collections.abc import Callable

from torch import nn

from training.nets.custom_net import CustomNet

NETS: dict[str, Callable[..., nn.Module]] = {"custom_net": CustomNet}
