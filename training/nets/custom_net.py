"""The network of custom_net_8 and other small classifiers.

The exported network has plain 3×3 convolutions. During training, filters are tied in mirrored
pairs, and blocks with equal input and output shapes have an identity branch. The four stages have
48, 24, 12 and 6 pixels. The first stage keeps the full resolution, because halving it reduces the
accuracy by about eight points early in training. The other stages begin with 2×2 filters at stride
2.

In a trial of four epochs (with 4×4 filters at stride 2), the validation accuracy was 81.8 % with
tied filters and 79.5 % without.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.nets.paired import PairedConv, PairedNorm, fold, pair_means
from training.nets.standardise import standardise


class Block(nn.Module):
    """relu(norm(conv(x)) + norm(x)), without the second term if the shapes differ."""

    def __init__(self, channels_in: int, channels_out: int, *, halve: bool) -> None:
        super().__init__()
        size, stride = (2, 2) if halve else (3, 1)
        self.conv = PairedConv(channels_in, channels_out, size, stride)
        self.norm = PairedNorm(channels_out)
        same = channels_in == channels_out and not halve
        self.identity = PairedNorm(channels_out) if same else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        if self.identity is not None:
            y = y + self.identity(x)
        return torch.relu(y)


class CustomNet(nn.Module):
    """Logits (n, classes) of crops (n, 1, side, side) with grey values 0–255, float. `side` is a
    multiple of 8, and all `widths` are even."""

    def __init__(
        self,
        classes: int,
        widths: Sequence[int] = (16, 48, 96, 192),
        depths: Sequence[int] = (1, 2, 3, 3),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        blocks = []
        channels = 1
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for index in range(depth):
                blocks.append(Block(channels, width, halve=stage > 0 and index == 0))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels // 2, classes)

    def forward(self, crops: Tensor) -> Tensor:
        features = self.blocks(standardise(crops)).mean(dim=(2, 3))
        return self.head(self.dropout(pair_means(features)))

    def fold(self) -> "CustomNet":
        """Fold all blocks in place, for the export, and return the network."""
        self.eval()
        layers: list[nn.Module] = []
        for block in self.blocks:
            layers += [fold(block.conv, block.norm, block.identity), nn.ReLU()]
        self.blocks = nn.Sequential(*layers)
        return self
