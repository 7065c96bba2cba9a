"""Cells, outputs and ground truth of images of 64 × 64 pixels, for tests of detection."""

import torch

from training.detection.assignment import assign
from training.detection.boxes import Cells, decode, pairwise_iou
from training.detection.losses import GroundTruth

SIDE = 64
CELLS = Cells.of(SIDE)
FACE = (16.0, 16.0, 48.0, 48.0)


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32)


def exact(face):
    """Return outputs that decode to this face in all cells."""
    x1, y1, x2, y2 = face
    middle = torch.tensor([(x1 + x2) / 2, (y1 + y2) / 2])
    sides = torch.tensor([x2 - x1, y2 - y1])
    t_xy = (middle - CELLS.centres) / CELLS.strides
    return torch.cat([t_xy, (sides / CELLS.strides).log()], dim=1)


def assigned(outputs, faces, real=None, objectness=None):
    """Return the number of the assigned face of each cell of an image."""
    real = torch.ones(len(faces), dtype=torch.bool) if real is None else torch.tensor(real)
    objectness = torch.zeros(len(outputs)) if objectness is None else objectness
    iou = pairwise_iou(faces, decode(outputs, CELLS))
    return assign(iou[None], objectness[None], faces[None], real[None], CELLS)[0]


def ground_truth(faces, sure=None, targets=None):
    count = len(faces)
    return GroundTruth(
        boxes=faces[None],
        valid=torch.ones(1, count, dtype=torch.bool),
        sure=torch.tensor([[True] * count if sure is None else sure]),
        targets=torch.zeros(1, count, 8) if targets is None else targets[None],
    )


def outputs_for(face, logit=-20.0, names=None):
    """Return outputs of shape (1, cells, 13) that decode to `face` in all cells."""
    outputs = torch.zeros(1, 84, 13)
    outputs[0, :, :4], outputs[0, :, 4] = exact(face), logit
    if names is not None:
        outputs[0, :, 5:] = names
    return outputs
