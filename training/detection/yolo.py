"""Boxes, marks and losses of YOLOv3-tiny (Redmon & Farhadi 2018, arXiv 1804.02767, section 2.1)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.vision.cells import MAX_LOG_SIZE, candidates, non_max_suppression
from training.detection.assignment import NOBODY
from training.detection.boxes import pairwise_iou
from training.detection.losses import Losses, Marks, sum_up

STRIDES = (32, 16)
# Width and height in pixels of the image that the net sees, for each of STRIDES; not in cells, as
# YOLOv2's were. Centres of k-means with 1 - IoU as distance (Redmon & Farhadi 2017, arXiv
# 1612.08242, section 2.1; ten starts, nine ended here) over the 7,784 sure faces of the training
# photographs, their longer sides drawn anew, log-uniform from 12 to 300 pixels: scenes show faces
# of all these sizes, photographs mostly of a few. The mean IoU with the best anchor is .75 (.70
# with darknet's, which are for COCO).
ANCHORS = (
    ((91.0, 109.0), (142.0, 169.0), (212.0, 249.0)),
    ((15.0, 18.0), (30.0, 36.0), (55.0, 65.0)),
)
IGNORE_IOU = 0.5  # of a predicted box with a face that its row does not learn


@dataclass(frozen=True)
class Priors:
    """What each row of the answers begins from: the `corners` (n, 2) of its cell, left and top, in
    cells; its `strides` (n, 1) and the `sizes` (n, 2) of its anchor in pixels."""

    corners: Tensor
    strides: Tensor
    sizes: Tensor


def anchors_of(side: int, device: torch.device | str = "cpu") -> Priors:
    """Of a square image: those of each stride row by row, and of each cell anchor by anchor."""
    corners, strides, sizes = [], [], []
    for stride, anchors in zip(STRIDES, ANCHORS, strict=True):
        steps = torch.arange(side // stride, dtype=torch.float32)
        rows, columns = torch.meshgrid(steps, steps, indexing="ij")
        cells = torch.stack([columns.flatten(), rows.flatten()], dim=1)
        corners.append(cells.repeat_interleave(len(anchors), dim=0))
        strides.append(torch.full((len(corners[-1]), 1), float(stride)))
        sizes.append(torch.tensor(anchors).repeat(len(cells), 1))
    return Priors(*(torch.cat(each).to(device) for each in (corners, strides, sizes)))


def decode(answers: Tensor, side: int) -> Tensor:
    """Boxes xyxy (…, n, 4) in pixels of answers (…, n, 4 or more): the centre is the cell's corner
    plus sigmoid(t_xy) strides, the sides are exp(t_wh) of the anchor's."""
    priors = anchors_of(side, answers.device)
    middle = (priors.corners + answers[..., :2].sigmoid()) * priors.strides
    half = answers[..., 2:4].clamp(max=MAX_LOG_SIZE).exp() * priors.sizes / 2
    return torch.cat([middle - half, middle + half], dim=-1)


def assign(faces: Tensor, real: Tensor, side: int) -> Tensor:
    """The face of each row (images, n), NOBODY where it has none.

    `faces` (images, most, 4) are true boxes, of which `real` (images, most) are no padding. A
    face takes one row: of the cells, one for each stride, that hold its centre the anchor that
    overlaps it most where both have the same centre. Of faces that take the same row it learns the
    one that it overlaps most; the others are learned by nobody.
    """
    priors = anchors_of(side, faces.device)
    middle = ((faces[..., :2] + faces[..., 2:]) / 2).clamp(0, side - 1)
    cells = (middle[..., None, :] / priors.strides).floor()
    holds = (cells == priors.corners).all(dim=-1)
    overlap = pairwise_iou(_at_origin(faces[..., 2:] - faces[..., :2]), _at_origin(priors.sizes))
    _, row = overlap.masked_fill(~holds, -1).max(dim=-1)
    takes = (torch.arange(len(priors.corners), device=faces.device) == row[..., None]) & real[
        ..., None
    ]
    most, face = overlap.masked_fill(~takes, -1).max(dim=1)
    return torch.where(most >= 0, face, NOBODY)


def decoder() -> dict[str, Any]:
    """The field `decoder` of a card: how the service decodes these rows."""
    return {
        "name": "yolov3",
        "scales": [
            {"stride": stride, "anchors": [list(anchor) for anchor in anchors]}
            for stride, anchors in zip(STRIDES, ANCHORS, strict=True)
        ],
    }


def _at_origin(sizes: Tensor) -> Tensor:
    """Boxes (…, 4) with these widths and heights (…, 2)."""
    return torch.cat([-sizes / 2, sizes / 2], dim=-1)


def losses(answers: Tensor, marks: Marks, side: int) -> Losses:
    """Of answers (images, n, 5 + classes). Ignored are rows without a face whose box overlaps
    one by more than IGNORE_IOU, be it sure or doubtful, and those that doubtful faces would take.
    """
    boxes = decode(answers, side)
    with torch.no_grad():
        face = assign(marks.faces, marks.real & marks.sure, side)
        learns = face != NOBODY
        near = (pairwise_iou(marks.faces, boxes) > IGNORE_IOU) & marks.real[..., None]
        doubtful = assign(marks.faces, marks.real & ~marks.sure, side) != NOBODY
        ignored = (near.any(dim=1) | doubtful) & ~learns
    return sum_up(answers, boxes, marks, face, ignored)


def find(
    outputs: NDArray[np.float32], side: int, *, min_logit: float, nms_iou: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """app.vision.cells.find for outputs (n, 5 + classes) of the rows of `anchors_of`."""
    chosen = candidates(outputs, min_logit)
    rows = outputs[chosen]
    boxes = np.asarray(decode(torch.tensor(outputs), side).numpy())[chosen]
    kept = non_max_suppression(boxes, rows[:, 4], nms_iou)
    return boxes[kept], rows[kept, 4], rows[kept, 5:]
