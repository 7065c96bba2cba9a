"""Which cells learn which face: SimOTA (Ge et al. 2021, "YOLOX", arXiv 2107.08430, section 2.1)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from training.detection.boxes import Cells

REACH = 2.5  # strides from a face's centre
IOU_WEIGHT = 3.0
OUTSIDE = 1e5
MOST = 10  # cells a face
NOBODY = -1


def assign(iou: Tensor, objectness: Tensor, faces: Tensor, real: Tensor, cells: Cells) -> Tensor:
    """The face of each cell (images, cells), NOBODY where it has none.

    `iou` (images, most, cells) is that of the true boxes `faces` (images, most, 4), of which
    `real` (images, most) are no padding, with the boxes that the net answers, `objectness`
    (images, cells) the logits that it gives them.

    A cell may learn a face that holds its centre or whose centre is near. It costs the loss of its
    score and -3 ln IoU, and much more unless both hold. A face takes its k cheapest cells, k being
    the sum of its ten best IoUs; a cell that several take goes to the cheapest.
    """
    inside, near = _inside(faces, cells), _near(faces, cells)
    cost = F.softplus(-objectness)[:, None] - IOU_WEIGHT * iou.clamp(min=1e-8).log()
    cost = cost + OUTSIDE * ~(inside & near)
    possible = (inside | near) & real[..., None]
    cost = cost.masked_fill(~possible, torch.inf)
    most = min(MOST, cost.shape[-1])
    k = iou.masked_fill(~possible, 0).topk(most).values.sum(dim=-1).int().clamp(min=1)
    cheapest, indices = cost.topk(most, largest=False)
    taken = (torch.arange(most, device=k.device) < k[..., None]) & cheapest.isfinite()
    chosen = torch.zeros_like(possible).scatter(-1, indices, taken)
    lowest, face = cost.masked_fill(~chosen, torch.inf).min(dim=1)
    return torch.where(lowest.isfinite(), face, NOBODY)


def around(faces: Tensor, real: Tensor, cells: Cells) -> Tensor:
    """Whether each cell (images, cells) is one that might learn any of these faces."""
    possible = _inside(faces, cells) | _near(faces, cells)
    return (possible & real[..., None]).any(dim=1)


def _inside(faces: Tensor, cells: Cells) -> Tensor:
    x, y = cells.centres.unbind(dim=1)
    x1, y1, x2, y2 = faces[..., None].unbind(dim=-2)
    return (x > x1) & (x < x2) & (y > y1) & (y < y2)


def _near(faces: Tensor, cells: Cells) -> Tensor:
    middle = (faces[..., :2] + faces[..., 2:]) / 2
    away = (cells.centres - middle[..., None, :]).abs().amax(dim=-1)
    return away < REACH * cells.strides[:, 0]
