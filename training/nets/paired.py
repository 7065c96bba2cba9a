"""Layers whose features are equivariant to mirroring, because a mirrored face has the same
expression.

Filters are tied in pairs of a filter and its mirror image (group convolution for the group of
reflections: Cohen & Welling 2016, arXiv 1602.07576, section 6). The first half of the channels are
the outputs of the filters, the second half those of their mirror images. The spatial mean of each
pair is invariant to mirroring. Half of the weights are free parameters.

Layers must be symmetric on the pixel grid: odd filters at stride 1, or 2×2 filters at stride 2.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PairedConv(nn.Module):
    """A convolution without bias from pairs (or from one grey channel) to pairs. With an odd
    `size`, height and width do not change; an even `size` has no padding. Raises ValueError for odd
    `channels_out`."""

    def __init__(self, channels_in: int, channels_out: int, size: int, stride: int = 1) -> None:
        super().__init__()
        if channels_out % 2:
            raise ValueError(f"channels_out must be even, got {channels_out}")
        self.stride, self.padding = stride, size // 2 if size % 2 else 0
        self.weight = nn.Parameter(torch.empty(channels_out // 2, channels_in, size, size))
        nn.init.normal_(self.weight, std=math.sqrt(2 / (channels_out * size * size)))

    def tied(self) -> Tensor:
        """Return the complete weight (channels_out, channels_in, size, size)."""
        mirrored = self.weight.flip(3)
        if self.weight.shape[1] > 1:  # mirroring also swaps the inputs of a pair
            mirrored = torch.cat(mirrored.chunk(2, dim=1)[::-1], dim=1)
        return torch.cat([self.weight, mirrored])

    def forward(self, x: Tensor) -> Tensor:
        weight = self.tied().to(memory_format=torch.channels_last)
        return F.conv2d(x, weight, None, self.stride, self.padding)


class PairedNorm(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015, arXiv 1502.03167) with equal parameters for both
    channels of a pair."""

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
        """Return scale and shift, each (channels,), in evaluation mode."""
        mean = self.mean.view(2, -1).mean(dim=0)
        deviation = torch.sqrt(self.variance.view(2, -1).mean(dim=0) + self.EPSILON)
        scale = self.weight / deviation
        return scale.repeat(2), (self.bias - mean * scale).repeat(2)


def pair_means(features: Tensor) -> Tensor:
    """Return the means (n, channels / 2) of the pairs of features (n, channels), which are
    invariant to mirroring."""
    return features.unflatten(1, (2, -1)).mean(dim=1)


@torch.no_grad()
def fold(conv: PairedConv, norm: PairedNorm, identity: PairedNorm | None = None) -> nn.Conv2d:
    """Return a convolution that equals norm(conv(x)), or norm(conv(x)) + identity(x), in evaluation
    mode (re-parameterisation: Ding et al. 2021, RepVGG, arXiv 2101.03697, section 3.3, without the
    1×1 branch)."""
    scale, shift = norm.affine()
    weight = conv.tied() * scale[:, None, None, None]
    if identity is not None:
        identity_scale, identity_shift = identity.affine()
        centre = conv.padding
        weight[:, :, centre, centre] += torch.diag(identity_scale)
        shift = shift + identity_shift
    channels_out, channels_in, size, _ = weight.shape
    folded = nn.Conv2d(channels_in, channels_out, size, conv.stride, conv.padding)
    folded.weight.copy_(weight)
    folded.bias.copy_(shift)
    return folded
