"""What the answers of each one-pass net mean: how they are learned and read."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from app.vision.cells import find
from training.detection import losses, yolo
from training.detection.losses import Losses, Marks, expression_loss
from training.nets.single_shot import SingleShot

NAMED_A_SCENE = 4  # faces whose expression is learned in a step, by the number of scenes
JITTER_SCALE, JITTER_SHIFT = 0.15, 0.06  # of the boxes in which faces are named


@dataclass(frozen=True)
class Batch:
    """`images` (scenes, 3, side, side) float 0–255. The last `sheets` of them are grids of faces,
    which teach expressions only."""

    images: Tensor
    marks: Marks
    sheets: int = 0


class Find(Protocol):
    def __call__(
        self, outputs: NDArray[np.float32], side: int, *, min_logit: float, nms_iou: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """See app.vision.cells.find."""


@dataclass(frozen=True)
class Head:
    """`losses` of a net on a batch; `class_weights` (classes,) say how much rare classes weigh."""

    losses: Callable[[nn.Module, Batch, Tensor, torch.Generator], Losses]
    find: Find


def single_shot_losses(
    net: nn.Module, batch: Batch, class_weights: Tensor, generator: torch.Generator
) -> Losses:
    """Faces are named in jittered true boxes, rare expressions more often."""
    assert isinstance(net, SingleShot)
    seen = net.look(batch.images)
    photographs = len(batch.images) - batch.sheets
    marks = Marks(*(each[:photographs] for each in vars(batch.marks).values()))
    found = losses.losses(seen.answers[:photographs].float(), marks, batch.images.shape[-1])
    scene, boxes, targets = chosen_faces(
        batch.marks, NAMED_A_SCENE * len(batch.images), class_weights, generator
    )
    named = expression_loss(net.name(seen.features, scene, boxes), targets)
    return Losses(found.objectness, found.box, named)


def yolo_losses(
    net: nn.Module, batch: Batch, class_weights: Tensor, generator: torch.Generator
) -> Losses:
    """Rare expressions weigh more."""
    answers = net(batch.images).float()
    marks = batch.marks
    weight = (marks.targets @ class_weights) / marks.targets.sum(dim=2).clamp(min=1e-6)
    weighted = Marks(marks.faces, marks.real, marks.sure, marks.targets * weight[..., None])
    return yolo.losses(answers, weighted, batch.images.shape[-1])


def chosen_faces(
    marks: Marks, count: int, class_weights: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Scene (n,), jittered box (n, 4) and target (n, classes) of up to `count` faces, drawn without
    replacement by the weight of their target. Targets are 0 where fewer expressions are known."""
    most = marks.real.shape[1]
    targets = marks.targets.flatten(0, 1)
    weights = targets @ class_weights
    uniform = torch.rand(len(weights), generator=generator, device=weights.device)
    keys = weights.log() - (-uniform.clamp(min=1e-9).log()).log()  # Gumbel-top-k
    rows = keys.topk(min(count, len(keys))).indices
    boxes = marks.faces.flatten(0, 1)[rows]
    middle, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    random = torch.rand(len(rows), 3, generator=generator, device=boxes.device) * 2 - 1
    middle = middle + JITTER_SHIFT * random[:, :2] * sides.amax(dim=1, keepdim=True)
    half = sides / 2 * (JITTER_SCALE * random[:, 2:]).exp()
    jittered = torch.cat([middle - half, middle + half], dim=1)
    return torch.div(rows, most, rounding_mode="floor"), jittered, targets[rows]


HEADS = {
    "single_shot": Head(single_shot_losses, find),
    "yolov3_tiny": Head(yolo_losses, yolo.find),
}
