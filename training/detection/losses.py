"""The losses of single-shot networks: objectness, boxes and expressions."""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from training.detection.assignment import UNASSIGNED, assign, candidates_of
from training.detection.boxes import Cells, decode, pairwise_iou

BOX_WEIGHT = 5.0
MATCH_IOU = 0.6  # boxes with this overlap are combined by the service, so they match the face


@dataclass(frozen=True)
class GroundTruth:
    """The faces of a batch of images, padded to an equal number of rows.

    - `boxes` (images, faces, 4): xyxy in pixels.
    - `valid` (images, faces): False for padding.
    - `sure` (images, faces): whether a detector must find the face. Others are ignored.
    - `targets` (images, faces, classes): distributions over expressions, all 0 if unknown.
    """

    boxes: Tensor
    valid: Tensor
    sure: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> "GroundTruth":
        return GroundTruth(*(getattr(self, each.name).to(device) for each in fields(self)))


@dataclass(frozen=True)
class Losses:
    objectness: Tensor
    box: Tensor
    expression: Tensor

    def total(self, expression_weight: float) -> Tensor:
        return self.objectness + BOX_WEIGHT * self.box + expression_weight * self.expression


def losses(outputs: Tensor, truth: GroundTruth, side: int) -> Losses:
    """Return the losses of outputs (images, cells, 5 + classes) for square images.

    SimOTA assigns cells to faces. Of the other cells, candidates for unsure faces and cells whose
    box matches a sure face have no objectness loss, because they also show a face.
    """
    cells = Cells.of(side, outputs.device)
    boxes = decode(outputs[..., :4], cells)
    with torch.no_grad():
        sure = truth.valid & truth.sure
        iou = pairwise_iou(truth.boxes, boxes)
        face = assign(iou, outputs[..., 4], truth.boxes, sure, cells)
        matches = (iou * sure[..., None]).amax(dim=1) >= MATCH_IOU
        unsure = candidates_of(truth.boxes, truth.valid & ~truth.sure, cells)
        ignored = (matches | unsure) & (face == UNASSIGNED)
    return combined(outputs, boxes, truth, face, ignored)


def combined(
    outputs: Tensor, boxes: Tensor, truth: GroundTruth, face: Tensor, ignored: Tensor
) -> Losses:
    """Return the losses for an assignment of rows to faces.

    `boxes` (images, rows, 4) are the decoded boxes of `outputs` (images, rows, 5 + classes).
    `face` (images, rows) is the index of the assigned face or UNASSIGNED.

    - Objectness: binary cross-entropy, summed over all rows that are not `ignored` (images, rows),
      divided by the number of assigned rows.
    - Box: mean EIoU loss of the assigned rows.
    - Expression: mean cross-entropy of the assigned rows with a known expression.
    """
    assigned = face != UNASSIGNED
    image = torch.arange(len(face), device=face.device)[:, None].expand_as(face)[assigned]
    true_boxes = truth.boxes[image, face[assigned]]
    targets = truth.targets[image, face[assigned]]
    count = assigned.sum().clamp(min=1)
    entropy = F.binary_cross_entropy_with_logits(
        outputs[..., 4], assigned.float(), reduction="none"
    )
    return Losses(
        objectness=(entropy * ~ignored).sum() / count,
        box=eiou_loss(boxes[assigned], true_boxes).sum() / count,
        expression=expression_loss(outputs[..., 5:][assigned], targets),
    )


def expression_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the weighted mean cross-entropy of logits (n, classes) with soft targets (n, classes).
    The sum of a target is the weight of its face. The result is 0 if there are no classes."""
    if not logits.shape[1]:
        return logits.sum()
    entropy = -(targets * logits.float().log_softmax(dim=1)).sum()
    return entropy / targets.sum().clamp(min=1)


def eiou_loss(boxes: Tensor, truth: Tensor) -> Tensor:
    """Return 1 - IoU + d²/c² + Δw²/c_w² + Δh²/c_h² (n,) of boxes (n, 4) and their truth (n, 4).

    d is the distance of the centres. c is the diagonal of the smallest box that contains both, and
    c_w and c_h are its sides (Zhang et al. 2021, arXiv 2101.08158, eq. 7).
    """
    sides, true_sides = boxes[:, 2:] - boxes[:, :2], truth[:, 2:] - truth[:, :2]
    low, high = torch.maximum(boxes[:, :2], truth[:, :2]), torch.minimum(boxes[:, 2:], truth[:, 2:])
    overlap = (high - low).clamp(min=0).prod(dim=1)
    union = sides.prod(dim=1) + true_sides.prod(dim=1) - overlap
    hull = torch.maximum(boxes[:, 2:], truth[:, 2:]) - torch.minimum(boxes[:, :2], truth[:, :2])
    hull = hull.clamp(min=1e-6)
    distance = (boxes[:, :2] + boxes[:, 2:] - truth[:, :2] - truth[:, 2:]) / 2
    return (
        1
        - overlap / union.clamp(min=1e-9)
        + distance.square().sum(dim=1) / hull.square().sum(dim=1)
        + ((sides - true_sides) / hull).square().sum(dim=1)
    )
