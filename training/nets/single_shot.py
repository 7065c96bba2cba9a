"""One network for boxes and expressions: a small anchor-free detector that names what it finds.

Boxes as YuNet finds them (Wu et al. 2023): strides 8, 16 and 32, a top-down neck, a block and a 1×1
convolution a level. The expression of a face is read from the features of its region at strides 2,
4 and 8, which the detector has computed anyway: a face of 100 pixels covers three cells of the
detector's coarsest map, and that is too coarse to tell sadness from neutral.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.vision.cells import MIN_LOGIT, STRIDES, candidates, non_max_suppression
from training.detection.boxes import Cells, decode
from training.detection.regions import align, squares
from training.nets.depthwise import DepthwiseBlock, ResidualBlock

BOX, OBJECTNESS = 4, 1
PRIOR_OBJECTNESS = 0.01  # what the untrained net says of every cell
REGION_SCALE = 1.05  # a region's side over the longer side of its box
REGION_SIZES = {2: 24, 4: 12, 8: 6}  # bins of a region by stride of the features
NMS_IOU = 0.45


class Seen(NamedTuple):
    """`answers` (n, cells, 5): t_x, t_y, t_w, t_h and the logit of objectness of each cell.
    `features` are the maps (n, channels, height, width) at the strides of REGION_SIZES."""

    answers: Tensor
    features: tuple[Tensor, ...]


class SingleShot(nn.Module):
    """Answers (n, cells, 5 + classes) of images (n, 3, side, side) with raw values 0–255, BGR,
    float; the side is a multiple of 32.

    Cells are those of stride 8, 16 and 32, each row by row. A cell's answer is t_x, t_y, t_w, t_h
    (app.vision.cells decodes them), the logit of objectness and the logits of the classes. The
    logits of the classes are 0 in cells whose box another one suppresses: nobody asks for them.
    `widths` are those of the stages at strides 2, 4, 8, 16 and 32; `extra` is the number of
    residual blocks behind each stage, and `neck_extra` that at each level of the neck.
    """

    def __init__(
        self,
        classes: int,
        *,
        widths: Sequence[int] = (16, 32, 64, 96, 128),
        depths: Sequence[int] = (1, 2, 2, 2, 2),
        extra: Sequence[int] = (0, 0, 1, 2, 2),
        neck: int = 64,
        neck_extra: int = 1,
        names: Sequence[int] = (32, 64, 128, 192),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.classes = classes
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
        self.deeper = nn.ModuleList([_residuals(w, n) for w, n in zip(widths, extra, strict=True)])
        self.laterals = nn.ModuleList([DepthwiseBlock(width, neck) for width in widths[2:]])
        self.neck = nn.ModuleList([_residuals(neck, neck_extra) for _ in STRIDES])
        self.heads = nn.ModuleList(
            [
                nn.Sequential(DepthwiseBlock(neck, neck), nn.Conv2d(neck, BOX + OBJECTNESS, 1))
                for _ in STRIDES
            ]
        )
        self.namer = Namer(classes, widths[:3], names, dropout)
        for head in self.heads:
            nn.init.constant_(head[-1].bias[BOX:], -_logit_of_not(PRIOR_OBJECTNESS))

    def look(self, pictures: Tensor) -> Seen:
        """What the detector answers, and the features in which faces are named."""
        x = self.stem((pictures - 127.5) / 64)
        features = []
        for index, (stage, deeper) in enumerate(zip(self.stages, self.deeper, strict=True)):
            x = deeper(stage(F.max_pool2d(x, 2) if index else x))
            features.append(x)
        p8, p16, p32 = (lateral(x) for lateral, x in zip(self.laterals, features[2:], strict=True))
        p16 = p16 + F.interpolate(p32, scale_factor=2.0, mode="nearest")
        p8 = p8 + F.interpolate(p16, scale_factor=2.0, mode="nearest")
        levels = [deeper(p) for deeper, p in zip(self.neck, (p8, p16, p32), strict=True)]
        answers = [head(p).flatten(2) for head, p in zip(self.heads, levels, strict=True)]
        return Seen(torch.cat(answers, dim=2).transpose(1, 2), tuple(features[: len(REGION_SIZES)]))

    def name(self, features: Sequence[Tensor], scene: Tensor, boxes: Tensor) -> Tensor:
        """Logits (faces, classes) of the faces in boxes (faces, 4) xyxy of scenes (faces,)."""
        regions = squares(boxes, REGION_SCALE)
        return self.namer(
            *(
                align(maps, scene, regions, size, stride)
                for maps, (stride, size) in zip(features, REGION_SIZES.items(), strict=True)
            )
        )

    def forward(self, pictures: Tensor) -> Tensor:
        seen = self.look(pictures)
        names = seen.answers.new_zeros(*seen.answers.shape[:2], self.classes)
        boxes = decode(seen.answers[..., :4], Cells.of(pictures.shape[-1], pictures.device))
        scene, cell = _kept(seen.answers, boxes)
        if len(scene):
            names[scene, cell] = self.name(seen.features, scene, boxes[scene, cell]).to(names.dtype)
        return torch.cat([seen.answers, names], dim=2)


class Namer(nn.Module):
    """Logits (n, classes) of the features of regions at strides 2, 4 and 8, each (n, channels,
    size, size) with the sizes of REGION_SIZES."""

    def __init__(
        self, classes: int, channels: Sequence[int], widths: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.fine = _conv(channels[0], first)
        self.middle = _conv(first + channels[1], second)
        self.coarse = nn.Sequential(_conv(second + channels[2], third), _conv(third, third))
        self.last = _conv(third, fourth)
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Linear(fourth, classes)

    def forward(self, at_2: Tensor, at_4: Tensor, at_8: Tensor) -> Tensor:
        x = F.max_pool2d(self.fine(at_2), 2)
        x = F.max_pool2d(self.middle(torch.cat([x, at_4], dim=1)), 2)
        x = F.max_pool2d(self.coarse(torch.cat([x, at_8], dim=1)), 2)
        return self.logits(self.dropout(self.last(x).mean(dim=(2, 3))))


@torch.no_grad()
def _kept(answers: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Scene and cell (faces,) of the boxes that the service keeps (app.vision.cells.find)."""
    scenes, cells = [], []
    for index, (rows, its) in enumerate(
        zip(answers.float().cpu().numpy(), boxes.float().cpu().numpy(), strict=True)
    ):
        chosen = candidates(rows, MIN_LOGIT)
        kept = chosen[non_max_suppression(its[chosen], rows[chosen, 4], NMS_IOU)]
        scenes.append(np.full(len(kept), index))
        cells.append(kept)
    return (
        torch.from_numpy(np.concatenate(scenes)).to(answers.device),
        torch.from_numpy(np.concatenate(cells)).to(answers.device),
    )


def _residuals(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))


def _conv(channels: int, width: int) -> nn.Sequential:
    """All channels are mixed over 3×3 bins: an expression is in how parts of a face lie to each
    other."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    )


def _logit_of_not(share: float) -> float:
    return float(torch.tensor((1 - share) / share).log())
