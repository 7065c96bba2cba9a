"""What a classifier learns from crops and how it is measured while it learns."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.augment import STRENGTHS, augment
from training.config import Config
from training.learning import Training

VALIDATION, WILD = "validation", "wild"
FEWEST_FACES = 12  # of an emotion that counts in the macro recall of wild faces
_BATCH = 512


@dataclass(frozen=True)
class Labelled:
    """Crops (n, 1, size, size) uint8 to measure on, their class indices (n,), and whether every
    source was sure of the label (n,). Macro recall is over classes with `fewest` crops."""

    crops: Tensor
    labels: Tensor
    sure: Tensor
    fewest: int = 1

    def to(self, device: torch.device) -> "Labelled":
        parts = {name: getattr(self, name).to(device) for name in ("crops", "labels", "sure")}
        return replace(self, **parts)


@dataclass
class Crops:
    """Canvases (n, 1, canvas, canvas) uint8 whose middle `config.input_size` pixels are the crops
    (training.augment), and target distributions (n, classes) float32. `weights` (n,) say how often
    each is drawn; without them every crop comes once an epoch, or as `config.balance` says.
    `validation` is what settings are fitted on; `wild` is measured too where it is given.
    `count_of_faces` also counts faces without a label, which `crops` leaves out while the answers
    of teachers are not read. `source` describes the training crops in words."""

    crops: Tensor
    targets: Tensor
    validation: Labelled
    config: Config
    targets_name: str
    source: str
    weights: Tensor | None = None
    wild: Labelled | None = None
    count_of_faces: int | None = None
    loss_name: str = field(default="cross-entropy with the targets", init=False)

    @property
    def curves(self) -> Mapping[str, str]:
        named = {
            "validation_accuracy": "validation accuracy",
            "validation_macro_recall": "validation macro recall",
        }
        if self.wild:
            named |= {
                "wild_accuracy": "accuracy on wild faces",
                "wild_macro_recall": "macro recall on wild faces",
            }
        return named

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
        """The training crops (n, 1, size, size) uint8 without what is around them."""
        border = (self.crops.shape[-1] - self.config.input_size) // 2
        middle = slice(border, border + self.config.input_size)
        return self.crops[:, :, middle, middle]

    def to(self, device: torch.device) -> Self:
        return replace(
            self,
            crops=self.crops.to(device),
            targets=self.targets.to(device),
            validation=self.validation.to(device),
            weights=None if self.weights is None else self.weights.to(device),
            wild=self.wild and self.wild.to(device),
        )

    def batches(self, run: Training) -> tuple[Tensor, ...]:
        """The rows of one epoch in random order, whole batches only."""
        count, weights = self.steps * self.config.batch_size, self.weights
        if weights is None and self.config.balance:
            weights = balanced(self.targets, self.config.balance)
        if weights is None:
            device = self.crops.device
            order = torch.randperm(len(self.crops), generator=run.generator, device=device)
        else:
            order = torch.multinomial(weights, count, replacement=True, generator=run.generator)
        return order[:count].split(self.config.batch_size)

    def loss(self, run: Training, batch: Tensor, left: float) -> Tensor:
        """Cross-entropy of changed copies of the batch's crops with their targets."""
        damage = min(1.0, left / self.config.fade) if self.config.fade else 1.0
        crops = augment(
            self.crops[batch].float(),
            run.generator,
            side=self.config.input_size,
            strength=STRENGTHS[self.config.augmentation],
            damage=damage,
        )
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

    def validate(self, run: Training) -> dict[str, float]:
        """Accuracy and macro recall on the validation split, and on wild faces where they are
        given, on crops of the side that the schedule has come to."""
        figures = self._figures(run, self.validation, VALIDATION)
        if self.wild:
            figures |= self._figures(run, self.wild, WILD)
        return figures

    @torch.no_grad()
    def _figures(self, run: Training, faces: Labelled, name: str) -> dict[str, float]:
        logits = torch.cat(
            [
                _answer(run.average, self.shrink(run, part.float()))
                for part in faces.crops.split(_BATCH)
            ]
        )
        hits = logits.argmax(dim=1) == faces.labels
        counts = torch.bincount(faces.labels).tolist()
        recalls = [
            hits[faces.labels == label].float().mean().item()
            for label, count in enumerate(counts)
            if count >= faces.fewest
        ]
        figures = {
            f"{name}_accuracy": hits.float().mean().item(),
            f"{name}_macro_recall": float(np.mean(recalls)),
            f"{name}_loss": F.cross_entropy(logits, faces.labels).item(),
        }
        if not faces.sure.all():
            figures[f"{name}_sure_accuracy"] = hits[faces.sure].float().mean().item()
        return figures


def _answer(net: nn.Module, crops: Tensor) -> Tensor:
    logits: Tensor = net(crops.to(memory_format=torch.channels_last))
    return logits.float()


def balanced(targets: Tensor, exponent: float) -> Tensor:
    """Weights (n,) that draw a row of `targets` (n, classes) p^-exponent times as often, p being
    the share of its class in all targets."""
    shares = targets.mean(dim=0).clamp_min(1e-6)
    return targets @ shares**-exponent
