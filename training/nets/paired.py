"""Layers that do not care which way a face looks.

A mirrored face shows the same expression. So every feature comes as a pair: what a filter sees, and
what its mirror image sees; the first half of the channels holds the ones, the second half the
others. The filters of a layer are tied in such pairs (group convolution for the group of mirroring:
Cohen & Welling 2016, arXiv 1602.07576, section 6), and the mean of each pair over the picture stays
the same when the picture is mirrored. Half of the weights are free and each serves twice as much.

It needs layers that lie symmetrically on the pixels: odd filters at stride 1, or 2×2 at stride 2.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PairedConv(nn.Module):
    """A convolution without bias of pairs (or of the one grey channel) to pairs. Odd `size` keeps
    height and width, even `size` is not padded. Raises ValueError for odd `channels_out`."""

    def __init__(self, channels_in: int, channels_out: int, size: int, stride: int = 1) -> None:
        super().__init__()
        if channels_out % 2:
            raise ValueError(f"{channels_out} channels are no pairs")
        self.stride, self.padding = stride, size // 2 if size % 2 else 0
        self.weight = nn.Parameter(torch.empty(channels_out // 2, channels_in, size, size))
        nn.init.normal_(self.weight, std=math.sqrt(2 / (channels_out * size * size)))

    def tied(self) -> Tensor:
        """The whole weight (channels_out, channels_in, size, size)."""
        mirrored = self.weight.flip(3)
        if self.weight.shape[1] > 1:  # what comes in are pairs, too: mirrored, they change places
            mirrored = torch.cat(mirrored.chunk(2, dim=1)[::-1], dim=1)
        return torch.cat([self.weight, mirrored])

    def forward(self, x: Tensor) -> Tensor:
        weight = self.tied().to(memory_format=torch.channels_last)
        return F.conv2d(x, weight, None, self.stride, self.padding)


class PairedNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015, arXiv 1502.03167), the same for both of a pair."""

    MOMENTUM = 0.1
    EPSILON = 1e-5
    mean: Tensor
    variance: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels // 2))
        self.bias = nn.Parameter(torch.zeros(channels // 2))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            scale, shift = self.affine()
            return x * scale[:, None, None] + shift[:, None, None]
        return F.batch_norm(
            x,
            self.mean,
            self.variance,
            self.weight.repeat(2),
            self.bias.repeat(2),
            training=True,
            momentum=self.MOMENTUM,
            eps=self.EPSILON,
        )

    def affine(self) -> tuple[Tensor, Tensor]:
        """(scale, shift), each (channels,), that it applies in evaluation mode."""
        mean = self.mean.view(2, -1).mean(dim=0)
        deviation = torch.sqrt(self.variance.view(2, -1).mean(dim=0) + self.EPSILON)
        scale = self.weight / deviation
        return scale.repeat(2), (self.bias - mean * scale).repeat(2)


def pair_means(features: Tensor) -> Tensor:
    """(n, channels / 2) of (n, channels): what does not change when the picture is mirrored."""
    return features.unflatten(1, (2, -1)).mean(dim=1)


@torch.no_grad()
def fold(conv: PairedConv, norm: PairedNorm, identity: PairedNorm | None = None) -> nn.Conv2d:
    """One plain convolution that answers as norm(conv(x)), or norm(conv(x)) + identity(x), does in
    evaluation mode (re-parameterisation: Ding et al. 2021, RepVGG, arXiv 2101.03697, section 3.3,
    without the 1×1 branch)."""
    scale, shift = norm.affine()
    weight = conv.tied() * scale[:, None, None, None]
    if identity is not None:
        identity_scale, identity_shift = identity.affine()
        middle = conv.padding
        weight[:, :, middle, middle] += torch.diag(identity_scale)
        shift = shift + identity_shift
    channels_out, channels_in, size, _ = weight.shape
    folded = nn.Conv2d(channels_in, channels_out, size, conv.stride, conv.padding)
    folded.weight.copy_(weight)
    folded.bias.copy_(shift)
    return folded
