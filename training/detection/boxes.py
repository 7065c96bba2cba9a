"""Box decoding and overlap in PyTorch, with gradients."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from app.vision.cells import MAX_LOG_SIZE, grid


@dataclass(frozen=True)
class Cells:
    """The cells of a square image: `centres` (n, 2) in pixels and `strides` (n, 1)."""

    centres: Tensor
    strides: Tensor

    @classmethod
    def of(cls, side: int, device: torch.device | str = "cpu") -> Self:
        return cls(*(torch.from_numpy(each).to(device) for each in grid(side)))


def decode(outputs: Tensor, cells: Cells) -> Tensor:
    """Decode outputs (…, n, 4) to boxes, like app.vision.cells.decode."""
    centres = cells.centres + outputs[..., :2] * cells.strides
    half = outputs[..., 2:].clamp(max=MAX_LOG_SIZE).exp() * cells.strides / 2
    return torch.cat([centres - half, centres + half], dim=-1)


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the intersection over union (…, a, b) of boxes (…, a, 4) and (…, b, 4)."""
    low = torch.maximum(first[..., :, None, :2], second[..., None, :, :2])
    high = torch.minimum(first[..., :, None, 2:], second[..., None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(dim=-1)
    union = area(first)[..., :, None] + area(second)[..., None, :] - overlap
    return overlap / union.clamp(min=1e-9)


def area(boxes: Tensor) -> Tensor:
    """Return the areas (…,) of boxes (…, 4), 0 for empty boxes."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)
