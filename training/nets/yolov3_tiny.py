"""YOLOv3-tiny, the network of "You Only Feel Once", for comparison with training.nets.single_shot.

Redmon & Farhadi 2018, arXiv 1804.02767. The layers are those of yolov3-tiny.cfg of Darknet: 13
convolutions, 6 max-pooling layers, and heads at strides 32 and 16.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.detection.yolo import ANCHORS
from training.nets.single_shot import BOX, OBJECTNESS, PRIOR_OBJECTNESS

WIDTHS = (16, 32, 64, 128, 256)  # at strides 1, 2, 4, 8 and 16
HEADS = r"head_\d+\.1\.weight"  # pattern of the names of the last layers' weights


class YoloV3Tiny(nn.Module):
    """Outputs (n, rows, 5 + classes) for images (n, 3, height, width), BGR, float, values 0–255.
    Both sides are multiples of 32.

    The rows are ordered by stride (32, 16), then by cell in row order, then by anchor as in
    training.detection.yolo.ANCHORS. A row consists of t_x, t_y, t_w, t_h (decoded by
    training.detection.yolo), the objectness logit and the class logits.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in WIDTHS:
            if layers:
                layers.append(nn.MaxPool2d(2))
            layers.append(_conv(channels, width))
            channels = width
        self.fine = nn.Sequential(*layers)
        self.coarse = nn.Sequential(
            nn.MaxPool2d(2),
            _conv(256, 512),
            nn.ReplicationPad2d((0, 1, 0, 1)),  # pooling at stride 1 keeps the size
            nn.MaxPool2d(2, stride=1),
            _conv(512, 1024),
            _conv(1024, 256, size=1),
        )
        self.head_32 = nn.Sequential(_conv(256, 512), _output_layer(512, classes))
        self.lateral = _conv(256, 128, size=1)
        self.head_16 = nn.Sequential(_conv(128 + 256, 256), _output_layer(256, classes))

    def forward(self, images: Tensor) -> Tensor:
        fine = self.fine(images / 255)
        coarse = self.coarse(fine)
        coarse_map = self.head_32(coarse)
        up = F.interpolate(self.lateral(coarse), scale_factor=2.0, mode="nearest")
        fine_map = self.head_16(torch.cat([up, fine], dim=1))
        return torch.cat([_rows(coarse_map), _rows(fine_map)], dim=1)


def _conv(channels_in: int, channels_out: int, size: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, size, padding=size // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.LeakyReLU(0.1),
    )


def _output_layer(channels_in: int, classes: int) -> nn.Conv2d:
    """Return the last layer of a head. Unlike in Darknet, the initial objectness is low for all
    rows, because most rows have no face."""
    anchors = len(ANCHORS[0])
    layer = nn.Conv2d(channels_in, anchors * (BOX + OBJECTNESS + classes), 1)
    prior_logit = math.log(PRIOR_OBJECTNESS / (1 - PRIOR_OBJECTNESS))
    nn.init.constant_(layer.bias.view(anchors, -1)[:, BOX], prior_logit)
    return layer


def _rows(outputs: Tensor) -> Tensor:
    """Convert the map of a head (n, anchors * (5 + classes), height, width) to rows (n, rows,
    5 + classes)."""
    return outputs.unflatten(1, (len(ANCHORS[0]), -1)).permute(0, 3, 4, 1, 2).flatten(1, 3)
