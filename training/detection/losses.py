"""What a one-pass detector is punished for."""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from training.detection.assignment import NOBODY, around, assign
from training.detection.boxes import Cells, decode, pairwise_iou

BOX_WEIGHT = 5.0
FITS = 0.6  # IoU from which on a box is that of the face: those that vote together when served


@dataclass(frozen=True)
class Marks:
    """What is true of a batch of images: `faces` (images, most, 4) xyxy in pixels, of which
    `real` (images, most) are no padding and `sure` (images, most) must be found (the others
    count neither for nor against); `targets` (images, most, classes) distributions over
    expressions, all 0 where nobody can tell."""

    faces: Tensor
    real: Tensor
    sure: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> "Marks":
        return Marks(*(getattr(self, each.name).to(device) for each in fields(self)))


@dataclass(frozen=True)
class Losses:
    objectness: Tensor
    box: Tensor
    expression: Tensor

    def total(self, expression_weight: float) -> Tensor:
        return self.objectness + BOX_WEIGHT * self.box + expression_weight * self.expression


def losses(answers: Tensor, marks: Marks, side: int) -> Losses:
    """Of answers (images, cells, 5 + classes) for square images; SimOTA chooses the cells that
    learn a face. Of the others nothing is said where a doubtful face is or where the box fits a
    sure one: a cell that sees a face as well as those that were chosen would be told not to."""
    cells = Cells.of(side, answers.device)
    boxes = decode(answers[..., :4], cells)
    with torch.no_grad():
        sure = marks.real & marks.sure
        iou = pairwise_iou(marks.faces, boxes)
        face = assign(iou, answers[..., 4], marks.faces, sure, cells)
        fits = (iou * sure[..., None]).amax(dim=1) >= FITS
        doubtful = around(marks.faces, marks.real & ~marks.sure, cells)
        ignored = (fits | doubtful) & (face == NOBODY)
    return sum_up(answers, boxes, marks, face, ignored)


def sum_up(answers: Tensor, boxes: Tensor, marks: Marks, face: Tensor, ignored: Tensor) -> Losses:
    """Binary cross-entropy of objectness over all rows but the `ignored` (images, rows), per row
    with a `face` (images, rows); mean EIoU loss of the rows with a face; mean cross-entropy with
    the soft targets, of those whose expression is known. `boxes` (images, rows, 4) are those of
    the `answers` (images, rows, 5 + classes)."""
    learns = face != NOBODY
    picture = torch.arange(len(face), device=face.device)[:, None].expand_as(face)[learns]
    true_boxes = marks.faces[picture, face[learns]]
    targets = marks.targets[picture, face[learns]]
    count = learns.sum().clamp(min=1)
    entropy = F.binary_cross_entropy_with_logits(answers[..., 4], learns.float(), reduction="none")
    return Losses(
        objectness=(entropy * ~ignored).sum() / count,
        box=eiou_loss(boxes[learns], true_boxes).sum() / count,
        expression=expression_loss(answers[..., 5:][learns], targets),
    )


def expression_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of logits (n, classes) with soft `targets` (n, classes), whose sums are
    the weights of the faces. 0 for answers without classes."""
    if not logits.shape[1]:
        return logits.sum()
    entropy = -(targets * logits.float().log_softmax(dim=1)).sum()
    return entropy / targets.sum().clamp(min=1)


def eiou_loss(boxes: Tensor, truth: Tensor) -> Tensor:
    """1 - IoU + d²/c² + Δw²/c_w² + Δh²/c_h² (n,) of boxes (n, 4), d being the distance of the
    centres and c the diagonal of the smallest box around both, whose sides are c_w and c_h
    (Zhang et al. 2021, arXiv 2101.08158, eq. 7)."""
    sides, true_sides = boxes[:, 2:] - boxes[:, :2], truth[:, 2:] - truth[:, :2]
    low, high = torch.maximum(boxes[:, :2], truth[:, :2]), torch.minimum(boxes[:, 2:], truth[:, 2:])
    overlap = (high - low).clamp(min=0).prod(dim=1)
    union = sides.prod(dim=1) + true_sides.prod(dim=1) - overlap
    hull = torch.maximum(boxes[:, 2:], truth[:, 2:]) - torch.minimum(boxes[:, :2], truth[:, :2])
    hull = hull.clamp(min=1e-6)
    apart = (boxes[:, :2] + boxes[:, 2:] - truth[:, :2] - truth[:, 2:]) / 2
    return (
        1
        - overlap / union.clamp(min=1e-9)
        + apart.square().sum(dim=1) / hull.square().sum(dim=1)
        + ((sides - true_sides) / hull).square().sum(dim=1)
    )
