"""Assignment of cells to faces: SimOTA (Ge et al. 2021, "YOLOX", arXiv 2107.08430, section 2.1)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from training.detection.boxes import Cells

CENTRE_RADIUS = 2.5  # in strides
IOU_WEIGHT = 3.0
OUTSIDE_COST = 1e5
MAX_CELLS = 10  # per face
UNASSIGNED = -1


def assign(iou: Tensor, objectness: Tensor, boxes: Tensor, valid: Tensor, cells: Cells) -> Tensor:
    """Return the index of the assigned face of each cell (images, cells), or UNASSIGNED.

    `boxes` (images, faces, 4) are the boxes of the faces; those that are not `valid` (images,
    faces) are padding. `iou` (images, faces, cells) is their overlap with the predicted boxes.
    `objectness` (images, cells) are the predicted logits.

    A cell is a candidate for a face if its centre is inside the box or near its centre. The cost is
    the objectness loss minus 3 ln IoU, and much higher unless both conditions are true. A face gets
    the k candidates with the lowest cost, where k is the sum of its ten highest IoUs. A cell that
    several faces get is assigned to the face with the lowest cost.
    """
    inside, near = _inside(boxes, cells), _near_centre(boxes, cells)
    cost = F.softplus(-objectness)[:, None] - IOU_WEIGHT * iou.clamp(min=1e-8).log()
    cost = cost + OUTSIDE_COST * ~(inside & near)
    candidate = (inside | near) & valid[..., None]
    cost = cost.masked_fill(~candidate, torch.inf)
    max_cells = min(MAX_CELLS, cost.shape[-1])
    k = iou.masked_fill(~candidate, 0).topk(max_cells).values.sum(dim=-1).int().clamp(min=1)
    lowest_costs, indices = cost.topk(max_cells, largest=False)
    taken = (torch.arange(max_cells, device=k.device) < k[..., None]) & lowest_costs.isfinite()
    chosen = torch.zeros_like(candidate).scatter(-1, indices, taken)
    lowest, face = cost.masked_fill(~chosen, torch.inf).min(dim=1)
    return torch.where(lowest.isfinite(), face, UNASSIGNED)


def candidates_of(boxes: Tensor, valid: Tensor, cells: Cells) -> Tensor:
    """Return which cells (images, cells) are candidates for any of these faces."""
    candidate = _inside(boxes, cells) | _near_centre(boxes, cells)
    return (candidate & valid[..., None]).any(dim=1)


def _inside(boxes: Tensor, cells: Cells) -> Tensor:
    x, y = cells.centres.unbind(dim=1)
    x1, y1, x2, y2 = boxes[..., None].unbind(dim=-2)
    return (x > x1) & (x < x2) & (y > y1) & (y < y2)


def _near_centre(boxes: Tensor, cells: Cells) -> Tensor:
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    distance = (cells.centres - centres[..., None, :]).abs().amax(dim=-1)
    return distance < CENTRE_RADIUS * cells.strides[:, 0]
