"""The small net: plain 3×3 convolutions when served, identity branches while it learns.

Four stages of widths 32/64/128/256 at 48, 24, 12 and 6 pixels. The first stage keeps the full
48×48: halving at once costs about eight points early in training. A block whose input and output
have the same shape learns with an identity branch beside its convolution, and `fold` turns both
into one convolution with the same answer (re-parameterisation: Ding et al. 2021, RepVGG,
arXiv 2101.03697, section 3.3, without the 1×1 branch).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.nets.standardise import standardise


class Block(nn.Module):
    """relu(bn(conv(x)) + bn(x)); without the second term where the shapes differ."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels_out)
        same = channels_in == channels_out and stride == 1
        self.identity = nn.BatchNorm2d(channels_out) if same else None
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        if self.identity is not None:
            y = y + self.identity(x)
        return torch.relu(y)

    @torch.no_grad()
    def fold(self) -> nn.Sequential:
        """One convolution and a ReLU with this block's answer in evaluation mode."""
        scale, shift = _affine(self.norm)
        weight = self.conv.weight * scale[:, None, None, None]
        if self.identity is not None:
            identity_scale, identity_shift = _affine(self.identity)
            weight[:, :, 1, 1] += torch.diag(identity_scale)
            shift = shift + identity_shift
        conv = nn.Conv2d(
            self.conv.in_channels, self.conv.out_channels, 3, self.conv.stride, padding=1
        )
        conv.weight.copy_(weight)
        conv.bias.copy_(shift)
        return nn.Sequential(conv, nn.ReLU())


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """(scale, shift) that a batch normalisation applies in evaluation mode."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


class CustomNet(nn.Module):
    """Logits (n, classes) of crops (n, 1, 48, 48) with raw grey values 0–255, float."""

    def __init__(
        self,
        classes: int,
        widths: Sequence[int] = (32, 64, 128, 256),
        depths: Sequence[int] = (2, 2, 3, 3),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        blocks = []
        channels = 1
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(Block(channels, width, stride))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, classes)

    def forward(self, crops: Tensor) -> Tensor:
        features = self.blocks(standardise(crops))
        return self.head(self.dropout(features.mean(dim=(2, 3))))

    def fold(self) -> "CustomNet":
        """This net with every block folded, for export. Changes the net itself."""
        self.eval()
        self.blocks = nn.Sequential(*[block.fold() for block in self.blocks])
        return self
