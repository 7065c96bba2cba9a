"""The networks that the setting `net` of a configuration can name."""

from collections.abc import Callable

from torch import nn

from training.nets.custom_net import CustomNet
from training.nets.mobilenet_v2 import MobileNetV2
from training.nets.single_shot import SingleShot
from training.nets.vgg13 import Vgg13
from training.nets.yolov3_tiny import YoloV3Tiny

NETS: dict[str, Callable[..., nn.Module]] = {
    "custom_net": CustomNet,
    "mobilenet_v2": MobileNetV2,
    "single_shot": SingleShot,
    "vgg13": Vgg13,
    "yolov3_tiny": YoloV3Tiny,
}
