"""Blocks of small detectors: a 1×1 convolution and a 3×3 depthwise convolution."""

from torch import Tensor, nn


class DepthwiseBlock(nn.Module):
    """relu(norm(depthwise 3×3(1×1(x)))), as in YuNet (Wu et al. 2023, Machine Intelligence Research
    20, 656, section 3.1)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels_in, channels_out, 1)
        self.spread = nn.Conv2d(
            channels_out, channels_out, 3, padding=1, groups=channels_out, bias=False
        )
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.spread(self.mix(x))).relu()


class ResidualBlock(nn.Module):
    """x + norm(depthwise 3×3(relu(1×1(x)))). The initial block is the identity, so blocks can be
    added to a trained network (Goyal et al. 2017, arXiv 1706.02677, section 5.1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1)
        self.spread = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.spread(self.mix(x).relu()))
