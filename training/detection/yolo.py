"""Decoding, assignment and losses of YOLOv3-tiny (Redmon & Farhadi 2018, arXiv 1804.02767, section
2.1)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from app.vision.cells import MAX_LOG_SIZE, candidates, non_max_suppression
from training.detection.assignment import UNASSIGNED
from training.detection.boxes import pairwise_iou
from training.detection.losses import GroundTruth, Losses, combined

STRIDES = (32, 16)
# Widths and heights for each of STRIDES, in pixels of the input image (YOLOv2 had them in cells).
# The anchors are centres of k-means with the distance 1 - IoU (Redmon & Farhadi 2017, arXiv
# 1612.08242, section 2.1; nine of ten runs gave the same centres) over the 7,784 sure faces of the
# training photographs. The longer sides of the faces were sampled from a log-uniform distribution
# from 12 to 300 pixels, as in scenes. The mean IoU with the best anchor is .75; with the anchors of
# Darknet for COCO it is .70.
ANCHORS = (
    ((91.0, 109.0), (142.0, 169.0), (212.0, 249.0)),
    ((15.0, 18.0), (30.0, 36.0), (55.0, 65.0)),
)
IGNORE_IOU = 0.5  # a row whose box has a higher IoU with a face is not a negative example


@dataclass(frozen=True)
class Priors:
    """The cell and the anchor of each row of the outputs: the upper left `corners` (n, 2) of the
    cell in cells, its `strides` (n, 1), and the `sizes` (n, 2) of the anchor in pixels."""

    corners: Tensor
    strides: Tensor
    sizes: Tensor


def anchors_of(side: int, device: torch.device | str = "cpu") -> Priors:
    """Return the cells and anchors of a square image, by stride, then by cell in row order, then by
    anchor."""
    corners, strides, sizes = [], [], []
    for stride, anchors in zip(STRIDES, ANCHORS, strict=True):
        steps = torch.arange(side // stride, dtype=torch.float32)
        rows, columns = torch.meshgrid(steps, steps, indexing="ij")
        cells = torch.stack([columns.flatten(), rows.flatten()], dim=1)
        corners.append(cells.repeat_interleave(len(anchors), dim=0))
        strides.append(torch.full((len(corners[-1]), 1), float(stride)))
        sizes.append(torch.tensor(anchors).repeat(len(cells), 1))
    return Priors(*(torch.cat(each).to(device) for each in (corners, strides, sizes)))


def decode(outputs: Tensor, side: int) -> Tensor:
    """Decode outputs (…, n, 4 or more) to boxes xyxy (…, n, 4) in pixels. The centre is the corner
    of the cell plus sigmoid(t_xy) strides, and the sides are exp(t_wh) times those of the
    anchor."""
    priors = anchors_of(side, outputs.device)
    centres = (priors.corners + outputs[..., :2].sigmoid()) * priors.strides
    half = outputs[..., 2:4].clamp(max=MAX_LOG_SIZE).exp() * priors.sizes / 2
    return torch.cat([centres - half, centres + half], dim=-1)


def assign(boxes: Tensor, valid: Tensor, side: int) -> Tensor:
    """Return the index of the assigned face of each row (images, n), or UNASSIGNED.

    `boxes` (images, faces, 4) are the boxes of the faces; those that are not `valid` (images,
    faces) are padding. Each stride has one cell that contains the centre of a face. Of the anchors
    of these cells, the face gets the one with the highest overlap if both have the same centre. If
    several faces get the same row, it is assigned to the face with the highest overlap.
    """
    priors = anchors_of(side, boxes.device)
    centres = ((boxes[..., :2] + boxes[..., 2:]) / 2).clamp(0, side - 1)
    cells = (centres[..., None, :] / priors.strides).floor()
    contains = (cells == priors.corners).all(dim=-1)
    overlap = pairwise_iou(_at_origin(boxes[..., 2:] - boxes[..., :2]), _at_origin(priors.sizes))
    _, row = overlap.masked_fill(~contains, -1).max(dim=-1)
    rows = torch.arange(len(priors.corners), device=boxes.device)
    chosen = (rows == row[..., None]) & valid[..., None]
    highest, face = overlap.masked_fill(~chosen, -1).max(dim=1)
    return torch.where(highest >= 0, face, UNASSIGNED)


def decoder() -> dict[str, Any]:
    """Return the field `decoder` of the card, by which the service decodes these rows."""
    return {
        "name": "yolov3",
        "scales": [
            {"stride": stride, "anchors": [list(anchor) for anchor in anchors]}
            for stride, anchors in zip(STRIDES, ANCHORS, strict=True)
        ],
    }


def _at_origin(sizes: Tensor) -> Tensor:
    """Return boxes (…, 4) around the origin with these widths and heights (…, 2)."""
    return torch.cat([-sizes / 2, sizes / 2], dim=-1)


def losses(outputs: Tensor, truth: GroundTruth, side: int) -> Losses:
    """Return the losses of outputs (images, n, 5 + classes).

    An unassigned row has no objectness loss if the IoU of its box with a face is above IGNORE_IOU,
    or if it would be assigned to an unsure face.
    """
    boxes = decode(outputs, side)
    with torch.no_grad():
        face = assign(truth.boxes, truth.valid & truth.sure, side)
        overlaps = (pairwise_iou(truth.boxes, boxes) > IGNORE_IOU) & truth.valid[..., None]
        unsure = assign(truth.boxes, truth.valid & ~truth.sure, side) != UNASSIGNED
        ignored = (overlaps.any(dim=1) | unsure) & (face == UNASSIGNED)
    return combined(outputs, boxes, truth, face, ignored)


def find(
    outputs: NDArray[np.float32], side: int, *, min_logit: float, nms_iou: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Decode outputs (n, 5 + classes) in the order of `anchors_of`, like app.vision.cells.find."""
    chosen = candidates(outputs, min_logit)
    rows = outputs[chosen]
    boxes = np.asarray(decode(torch.tensor(outputs), side).numpy())[chosen]
    kept = non_max_suppression(boxes, rows[:, 4], nms_iou)
    return boxes[kept], rows[kept, 4], rows[kept, 5:]
