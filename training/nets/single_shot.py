"""One network for boxes and expressions: a small anchor-free detector with an expression tower.

Boxes as YuNet finds them (Wu et al. 2023): strides 8, 16 and 32, a top-down neck, a block and a 1×1
convolution a level. Expressions need finer features than boxes do, and deeper ones: their tower
begins at stride 16 and is given what stride 8 saw before the neck mixed it; at stride 32 it goes on
from its own features at stride 16. A cell of stride 8 has the expression of the cell of stride 16
that it lies in.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.vision.cells import STRIDES
from training.nets.depthwise import DepthwiseBlock

BOX, OBJECTNESS = 4, 1
PRIOR_OBJECTNESS = 0.01  # what the untrained net says of every cell


class SingleShot(nn.Module):
    """Answers (n, cells, 5 + classes) of pictures (n, 3, height, width) with raw values 0–255, BGR,
    float; both sides are multiples of 32.

    Cells are those of stride 8, 16 and 32, each row by row. A cell's answer is t_x, t_y, t_w, t_h
    (app.vision.cells decodes them), the logit of objectness and the logits of the classes.
    `widths` are those of the stages at strides 2, 4, 8, 16 and 32.
    """

    def __init__(
        self,
        classes: int,
        widths: Sequence[int] = (16, 32, 64, 96, 128),
        depths: Sequence[int] = (1, 2, 2, 2, 2),
        neck: int = 64,
        tower: int = 96,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        )
        stages, channels = [], widths[0]
        for width, depth in zip(widths, depths, strict=True):
            blocks = []
            for _ in range(depth):
                blocks.append(DepthwiseBlock(channels, width))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.laterals = nn.ModuleList([DepthwiseBlock(width, neck) for width in widths[2:]])
        self.heads = nn.ModuleList(
            [
                nn.Sequential(DepthwiseBlock(neck, neck), nn.Conv2d(neck, BOX + OBJECTNESS, 1))
                for _ in STRIDES
            ]
        )
        self.tower_16 = nn.Sequential(
            DepthwiseBlock(neck + widths[2], tower), _conv(tower), _conv(tower)
        )
        self.tower_32 = nn.Sequential(DepthwiseBlock(neck + tower, tower), _conv(tower))
        self.name_16 = nn.Conv2d(tower, classes, 1)
        self.name_32 = nn.Conv2d(tower, classes, 1)
        for head in self.heads:
            nn.init.constant_(head[-1].bias[BOX:], -_logit_of_not(PRIOR_OBJECTNESS))

    def forward(self, pictures: Tensor) -> Tensor:
        x = self.stem((pictures - 127.5) / 64)
        features = []
        for index, stage in enumerate(self.stages):
            x = stage(F.max_pool2d(x, 2) if index else x)
            features.append(x)
        fine = features[2]
        p8, p16, p32 = (lateral(x) for lateral, x in zip(self.laterals, features[2:], strict=True))
        p16 = p16 + F.interpolate(p32, scale_factor=2.0, mode="nearest")
        p8 = p8 + F.interpolate(p16, scale_factor=2.0, mode="nearest")
        boxes = [head(p) for head, p in zip(self.heads, (p8, p16, p32), strict=True)]
        t16 = self.tower_16(torch.cat([p16, F.max_pool2d(fine, 2)], dim=1))
        t32 = self.tower_32(torch.cat([p32, F.max_pool2d(t16, 2)], dim=1))
        names_16 = self.name_16(t16)
        names_8 = F.interpolate(names_16, scale_factor=2.0, mode="nearest")
        names = [names_8, names_16, self.name_32(t32)]
        return torch.cat(
            [torch.cat(pair, dim=1).flatten(2) for pair in zip(boxes, names, strict=True)], dim=2
        ).transpose(1, 2)


def _conv(width: int) -> nn.Sequential:
    """Here all channels are mixed over 3×3 cells: an expression is in how parts of a face lie to
    each other."""
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    )


def _logit_of_not(share: float) -> float:
    return float(torch.tensor((1 - share) / share).log())
