"""The single-shot network: a small anchor-free detector with an expression head.

The detector is similar to YuNet (Wu et al. 2023): strides 8, 16 and 32, a top-down neck, and a
block and a 1×1 convolution per level. The expression of a face is classified from its features at
strides 2, 4 and 8. The coarser maps are not sufficient: a face of 100 pixels covers three cells at
stride 32, which does not show the difference between sadness and neutral.
"""

import math
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
PRIOR_OBJECTNESS = 0.01  # output of the untrained network for all cells
REGION_SCALE = 1.05  # side of a region, relative to the longer side of its box
REGION_SIZES = {2: 24, 4: 12, 8: 6}  # bins per side of a region, by stride of the features
NMS_IOU = 0.45


class DetectorOutput(NamedTuple):
    """`cells` (n, cells, 5): t_x, t_y, t_w, t_h and the objectness logit of each cell.
    `features`: maps (n, channels, height, width) at the strides of REGION_SIZES."""

    cells: Tensor
    features: tuple[Tensor, ...]


class SingleShot(nn.Module):
    """Outputs (n, cells, 5 + classes) for images (n, 3, side, side), BGR, float, values 0–255.
    The side is a multiple of 32.

    The cells are ordered by stride (8, 16, 32), then by row. An output consists of t_x, t_y, t_w,
    t_h (decoded by app.vision.cells), the objectness logit and the class logits. The class logits
    are 0 for cells whose box is suppressed.

    `widths` are the channels of the stages at strides 2, 4, 8, 16 and 32. `extra` is the number of
    residual blocks after each stage, and `neck_extra` after each level of the neck.
    `expression_widths` are the channels of the expression head.
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
        expression_widths: Sequence[int] = (32, 64, 128, 192),
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
        # Checkpoints and exported models contain the name of this attribute.
        self.namer = ExpressionHead(classes, widths[:3], expression_widths, dropout)
        for head in self.heads:
            nn.init.constant_(head[-1].bias[BOX:], _logit(PRIOR_OBJECTNESS))

    def detect(self, images: Tensor) -> DetectorOutput:
        """Run the detector. Return its outputs and the features for the expression head."""
        x = self.stem((images - 127.5) / 64)
        features = []
        for index, (stage, deeper) in enumerate(zip(self.stages, self.deeper, strict=True)):
            x = deeper(stage(F.max_pool2d(x, 2) if index else x))
            features.append(x)
        p8, p16, p32 = (lateral(x) for lateral, x in zip(self.laterals, features[2:], strict=True))
        p16 = p16 + F.interpolate(p32, scale_factor=2.0, mode="nearest")
        p8 = p8 + F.interpolate(p16, scale_factor=2.0, mode="nearest")
        levels = [deeper(p) for deeper, p in zip(self.neck, (p8, p16, p32), strict=True)]
        outputs = [head(p).flatten(2) for head, p in zip(self.heads, levels, strict=True)]
        return DetectorOutput(
            torch.cat(outputs, dim=2).transpose(1, 2), tuple(features[: len(REGION_SIZES)])
        )

    def classify(self, features: Sequence[Tensor], scene: Tensor, boxes: Tensor) -> Tensor:
        """Return the logits (faces, classes) of faces in boxes (faces, 4) xyxy. `scene` (faces,) is
        the index of the image of each face."""
        regions = squares(boxes, REGION_SCALE)
        return self.namer(
            *(
                align(maps, scene, regions, size, stride)
                for maps, (stride, size) in zip(features, REGION_SIZES.items(), strict=True)
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        outputs, features = self.detect(images)
        logits = outputs.new_zeros(*outputs.shape[:2], self.classes)
        boxes = decode(outputs[..., :4], Cells.of(images.shape[-1], images.device))
        scene, cell = _kept(outputs, boxes)
        if len(scene):
            kept_logits = self.classify(features, scene, boxes[scene, cell])
            logits[scene, cell] = kept_logits.to(logits.dtype)
        return torch.cat([outputs, logits], dim=2)


class ExpressionHead(nn.Module):
    """Logits (n, classes) of region features at strides 2, 4 and 8, each (n, channels, size, size)
    with the sizes of REGION_SIZES."""

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
def _kept(outputs: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return scene and cell (faces,) of the boxes that remain after suppression, as in
    app.vision.cells.find."""
    scenes, cells = [], []
    for index, (rows, row_boxes) in enumerate(
        zip(outputs.float().cpu().numpy(), boxes.float().cpu().numpy(), strict=True)
    ):
        chosen = candidates(rows, MIN_LOGIT)
        kept = chosen[non_max_suppression(row_boxes[chosen], rows[chosen, 4], NMS_IOU)]
        scenes.append(np.full(len(kept), index))
        cells.append(kept)
    return (
        torch.from_numpy(np.concatenate(scenes)).to(outputs.device),
        torch.from_numpy(np.concatenate(cells)).to(outputs.device),
    )


def _residuals(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))


def _conv(channels: int, width: int) -> nn.Sequential:
    """Return a full (not depthwise) 3×3 convolution, because an expression depends on the relative
    position of the parts of a face."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
    )


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
