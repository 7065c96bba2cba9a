"""Rows, boxes and ground truth of YOLOv3-tiny for images of 64 × 64 pixels.

The network returns 60 rows: 2×2 cells of stride 32, then 4×4 cells of stride 16, with three anchors
each.
"""

import math

import torch

from training.detection.losses import GroundTruth

SIDE, ROWS, COARSE_ROWS = 64, 60, 12
# ROW is the anchor of 30×36 in the cell of stride 16 at line 2 and column 3. LEFT_ROW is the same
# anchor in the cell to the left. With outputs of 0, the box of ROW has the centre (3.5, 2.5) × 16.
ROW = COARSE_ROWS + (2 * 4 + 3) * 3 + 1
LEFT_ROW = ROW - 3
CENTRE, BOX = (56.0, 40.0), (41.0, 22.0, 71.0, 58.0)
LN2, LN3 = math.log(2), math.log(3)


def face_at(x, y, width, height):
    return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def truth_of(*faces, sure=True, targets=None):
    """Return the truth of one image, with one padding row that has the box BOX."""
    boxes = torch.tensor([[*faces, BOX]])
    real = torch.tensor([[True] * len(faces) + [False]])
    if targets is None:
        targets = torch.zeros(1, len(faces) + 1, 2)
    return GroundTruth(boxes, real, real & torch.tensor(sure), targets)


def shifted():
    """Return the outputs of one image: 0, with the box of LEFT_ROW half a cell to the right.

    It overlaps BOX by 22·36 / (2·30·36 - 22·36) = .58. Other boxes overlap BOX by at most .39.
    """
    outputs = torch.zeros(1, ROWS, 5 + 2)
    outputs[0, LEFT_ROW, 0] = 100
    return outputs
