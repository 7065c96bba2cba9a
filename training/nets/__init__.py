"""The networks a config can name: `net = "custom_net"` and its keyword arguments."""

from collections.abc import Callable

from torch import nn

from training.nets.custom_net import CustomNet
from training.nets.vgg13 import Vgg13

NETS: dict[str, Callable[..., nn.Module]] = {"custom_net": CustomNet, "vgg13": Vgg13}
