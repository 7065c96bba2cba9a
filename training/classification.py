"""Training data of classifiers: batches of crops, loss and validation figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.augment import STRENGTHS, augment
from training.config import Config
from training.protocols import RunState

VALIDATION, WILD = "validation", "wild"
MIN_CLASS_FACES = 12  # minimum size of a class in the macro recall of wild faces
_BATCH = 512


@dataclass(frozen=True)
class LabelledCrops:
    """Crops (n, 1, size, size) uint8 for validation, their class indices `labels` (n,), and whether
    all annotations of the label are certain: `sure` (n,). Macro recall is the mean over the
    classes with at least `min_class_faces` crops."""

    crops: Tensor
    labels: Tensor
    sure: Tensor
    min_class_faces: int = 1

    def to(self, device: torch.device) -> "LabelledCrops":
        parts = {name: getattr(self, name).to(device) for name in ("crops", "labels", "sure")}
        return replace(self, **parts)


@dataclass
class Crops:
    """Training crops with soft labels, and labelled crops for validation.

    `crops` (n, 1, canvas, canvas) uint8 are canvases: the crop is the centre of `config.input_size`
    pixels, and the margin is used by augmentation (training.augment). `targets` (n, classes)
    float32 are distributions. `weights` (n,) are sampling weights; without them, an epoch contains
    each crop once, or samples by class with `config.balance`. `validation` is used to fit settings.
    `wild` is an optional second validation set. `count_of_faces` includes the faces without a
    label, which are not in `crops` if the soft labels of the teachers were not read. `source`
    describes the training crops in words.
    """

    crops: Tensor
    targets: Tensor
    validation: LabelledCrops
    config: Config
    targets_name: str
    source: str
    weights: Tensor | None = None
    wild: LabelledCrops | None = None
    count_of_faces: int | None = None
    loss_name: str = field(default="cross-entropy with the targets", init=False)

    @property
    def curves(self) -> Mapping[str, str]:
        labels = {
            "validation_accuracy": "validation accuracy",
            "validation_macro_recall": "validation macro recall",
        }
        if self.wild:
            labels |= {
                "wild_accuracy": "accuracy on wild faces",
                "wild_macro_recall": "macro recall on wild faces",
            }
        return labels

    @property
    def count(self) -> str:
        return f"{len(self.crops)} training and {len(self.validation.crops)} validation images"

    @property
    def size(self) -> int:
        return self.count_of_faces or len(self.crops)

    @property
    def steps(self) -> int:
        return (self.config.draws or len(self.crops)) // self.config.batch_size

    @property
    def plain_crops(self) -> Tensor:
        """The training crops (n, 1, size, size) uint8 without the margin."""
        border = (self.crops.shape[-1] - self.config.input_size) // 2
        centre = slice(border, border + self.config.input_size)
        return self.crops[:, :, centre, centre]

    def to(self, device: torch.device) -> Self:
        return replace(
            self,
            crops=self.crops.to(device),
            targets=self.targets.to(device),
            validation=self.validation.to(device),
            weights=None if self.weights is None else self.weights.to(device),
            wild=self.wild and self.wild.to(device),
        )

    def batches(self, run: RunState) -> tuple[Tensor, ...]:
        """Return the row indices of one epoch in random order, in complete batches."""
        count, weights = self.steps * self.config.batch_size, self.weights
        if weights is None and self.config.balance:
            weights = balanced(self.targets, self.config.balance)
        if weights is None:
            device = self.crops.device
            order = torch.randperm(len(self.crops), generator=run.generator, device=device)
        else:
            order = torch.multinomial(weights, count, replacement=True, generator=run.generator)
        return order[:count].split(self.config.batch_size)

    def loss(self, run: RunState, batch: Tensor, remaining: float) -> Tensor:
        """Return the cross-entropy of augmented crops with their targets."""
        corruption = min(1.0, remaining / self.config.fade) if self.config.fade else 1.0
        crops = augment(
            self.crops[batch].float(),
            run.generator,
            side=self.config.input_size,
            strength=STRENGTHS[self.config.augmentation],
            corruption=corruption,
        )
        crops = self.resize(run, crops).to(memory_format=torch.channels_last)
        with torch.autocast(run.device.type, torch.bfloat16):
            logits = run.net(crops)
        return F.cross_entropy(logits.float(), self.targets[batch])

    def resize(self, run: RunState, crops: Tensor) -> Tensor:
        """Resize crops to the size that `config.sizes` sets for the progress of the run."""
        side = self.config.side_at(run.progress(run.epoch))
        if side == crops.shape[-1]:
            return crops
        return F.interpolate(crops, size=side, mode="bilinear", antialias=True, align_corners=False)

    def validate(self, run: RunState) -> dict[str, float]:
        """Return loss, accuracy and macro recall on the validation split and on the wild faces,
        with crops of the current size of the schedule."""
        figures = self._figures(run, self.validation, VALIDATION)
        if self.wild:
            figures |= self._figures(run, self.wild, WILD)
        return figures

    @torch.no_grad()
    def _figures(self, run: RunState, faces: LabelledCrops, name: str) -> dict[str, float]:
        logits = torch.cat(
            [
                _logits(run.average, self.resize(run, part.float()))
                for part in faces.crops.split(_BATCH)
            ]
        )
        correct = logits.argmax(dim=1) == faces.labels
        counts = torch.bincount(faces.labels).tolist()
        recalls = [
            correct[faces.labels == label].float().mean().item()
            for label, count in enumerate(counts)
            if count >= faces.min_class_faces
        ]
        figures = {
            f"{name}_accuracy": correct.float().mean().item(),
            f"{name}_macro_recall": float(np.mean(recalls)),
            f"{name}_loss": F.cross_entropy(logits, faces.labels).item(),
        }
        if not faces.sure.all():
            figures[f"{name}_sure_accuracy"] = correct[faces.sure].float().mean().item()
        return figures


def _logits(net: nn.Module, crops: Tensor) -> Tensor:
    logits: Tensor = net(crops.to(memory_format=torch.channels_last))
    return logits.float()


def balanced(targets: Tensor, exponent: float) -> Tensor:
    """Return sampling weights (n,): p^-exponent for a row of `targets` (n, classes), where p is the
    share of its class in all targets."""
    shares = targets.mean(dim=0).clamp_min(1e-6)
    return targets @ shares**-exponent
