"""Loss and decoding functions of each single-shot network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from app.vision.cells import find
from training.detection import losses, yolo
from training.detection.losses import GroundTruth, Losses, expression_loss
from training.nets.single_shot import SingleShot

FACES_PER_SCENE = 4  # mean number of faces per scene with an expression loss in a step
JITTER_SCALE, JITTER_SHIFT = 0.15, 0.06  # of the boxes in which expressions are classified


@dataclass(frozen=True)
class Batch:
    """`images` (scenes, 3, side, side) float 0–255 and their faces. The last `sheets` images are
    grids of faces, which have only an expression loss."""

    images: Tensor
    truth: GroundTruth
    sheets: int = 0


class Find(Protocol):
    def __call__(
        self, outputs: NDArray[np.float32], side: int, *, min_logit: float, nms_iou: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Decode outputs: see app.vision.cells.find."""


@dataclass(frozen=True)
class Head:
    """`losses` computes the losses of a network for a batch, with class weights (classes,). `find`
    decodes its outputs."""

    losses: Callable[[nn.Module, Batch, Tensor, torch.Generator], Losses]
    find: Find


def single_shot_losses(
    net: nn.Module, batch: Batch, class_weights: Tensor, generator: torch.Generator
) -> Losses:
    """Return the losses. Expressions are classified in jittered boxes of the ground truth; faces
    with rare expressions are sampled more often."""
    assert isinstance(net, SingleShot)
    output = net.detect(batch.images)
    photographs = len(batch.images) - batch.sheets
    truth = GroundTruth(*(each[:photographs] for each in vars(batch.truth).values()))
    detection = losses.losses(output.cells[:photographs].float(), truth, batch.images.shape[-1])
    scene, boxes, targets = sampled_faces(
        batch.truth, FACES_PER_SCENE * len(batch.images), class_weights, generator
    )
    expression = expression_loss(net.classify(output.features, scene, boxes), targets)
    return Losses(detection.objectness, detection.box, expression)


def yolo_losses(
    net: nn.Module, batch: Batch, class_weights: Tensor, generator: torch.Generator
) -> Losses:
    """Return the losses. Rare expressions have a higher weight."""
    outputs = net(batch.images).float()
    truth = batch.truth
    weight = (truth.targets @ class_weights) / truth.targets.sum(dim=2).clamp(min=1e-6)
    targets = truth.targets * weight[..., None]
    weighted = GroundTruth(truth.boxes, truth.valid, truth.sure, targets)
    return yolo.losses(outputs, weighted, batch.images.shape[-1])


def sampled_faces(
    truth: GroundTruth, count: int, class_weights: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Sample up to `count` faces without replacement by the weight of their target. Return their
    scene (n,), jittered box (n, 4) and target (n, classes), which is 0 for unknown expressions."""
    faces = truth.valid.shape[1]
    targets = truth.targets.flatten(0, 1)
    weights = targets @ class_weights
    uniform = torch.rand(len(weights), generator=generator, device=weights.device)
    keys = weights.log() - (-uniform.clamp(min=1e-9).log()).log()  # Gumbel-top-k
    rows = keys.topk(min(count, len(keys))).indices
    boxes = truth.boxes.flatten(0, 1)[rows]
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    random = torch.rand(len(rows), 3, generator=generator, device=boxes.device) * 2 - 1
    centres = centres + JITTER_SHIFT * random[:, :2] * sides.amax(dim=1, keepdim=True)
    half = sides / 2 * (JITTER_SCALE * random[:, 2:]).exp()
    jittered = torch.cat([centres - half, centres + half], dim=1)
    return torch.div(rows, faces, rounding_mode="floor"), jittered, targets[rows]


HEADS = {
    "single_shot": Head(single_shot_losses, find),
    "yolov3_tiny": Head(yolo_losses, yolo.find),
}
