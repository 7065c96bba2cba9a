"""What a classifier learns from crops and how it is measured while it learns."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.augment import augment
from training.config import Config
from training.learning import Training


@dataclass
class Crops:
    """Crops as uint8 tensors (n, 1, size, size), target distributions (n, classes) float32, and
    validation labels as class indices. `source` says in words what the training crops are."""

    crops: Tensor
    targets: Tensor
    validation_crops: Tensor
    validation_labels: Tensor
    config: Config
    targets_name: str
    source: str

    loss_name = "cross-entropy with the targets"
    curves = {
        "validation_accuracy": "validation accuracy",
        "validation_macro_recall": "validation macro recall",
    }

    @property
    def count(self) -> str:
        return f"{len(self.crops)} training and {len(self.validation_crops)} validation pictures"

    @property
    def size(self) -> int:
        return len(self.crops)

    @property
    def steps(self) -> int:
        return len(self.crops) // self.config.batch_size

    def to(self, device: torch.device) -> Self:
        tensors = ("crops", "targets", "validation_crops", "validation_labels")
        return replace(self, **{name: getattr(self, name).to(device) for name in tensors})

    def batches(self, run: Training) -> tuple[Tensor, ...]:
        """The rows of one epoch in random order, whole batches only."""
        count = len(self.crops)
        if self.config.balance:
            shares = self.targets.mean(dim=0).clamp_min(1e-6)
            weights = self.targets @ shares**-self.config.balance
            order = torch.multinomial(weights, count, replacement=True, generator=run.generator)
        else:
            order = torch.randperm(count, generator=run.generator, device=run.device)
        size = self.config.batch_size
        return order[: self.steps * size].split(size)

    def loss(self, run: Training, batch: Tensor, left: float) -> Tensor:
        """Cross-entropy of changed copies of the batch's crops with their targets."""
        damage = min(1.0, left / self.config.fade) if self.config.fade else 1.0
        crops = augment(self.crops[batch].float(), run.generator, damage=damage)
        crops = self.shrink(run, crops).to(memory_format=torch.channels_last)
        with torch.autocast(run.device.type, torch.bfloat16):
            logits = run.net(crops)
        return F.cross_entropy(logits.float(), self.targets[batch])

    def shrink(self, run: Training, crops: Tensor) -> Tensor:
        """Crops of the side that the schedule has come to."""
        side = self.config.side_at(run.progress(run.epoch))
        if side == crops.shape[-1]:
            return crops
        return F.interpolate(crops, size=side, mode="bilinear", antialias=True, align_corners=False)

    @torch.no_grad()
    def validate(self, run: Training) -> dict[str, float]:
        """Accuracy and macro recall on the validation split, on crops of the side that the schedule
        has come to."""
        batches = self.validation_crops.split(256)
        logits = torch.cat([run.average(self.shrink(run, crops.float())) for crops in batches])
        labels, predicted = self.validation_labels, logits.argmax(dim=1)
        recalls = [
            (predicted[labels == k] == k).float().mean().item() for k in labels.unique().tolist()
        ]
        return {
            "validation_accuracy": (predicted == labels).float().mean().item(),
            "validation_macro_recall": float(np.mean(recalls)),
            "validation_loss": F.cross_entropy(logits, labels).item(),
        }
