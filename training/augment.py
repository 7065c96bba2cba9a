"""Batched augmentation of grey crops: one affine warp for a whole batch, then light and damage."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ROTATION_DEGREES = 14.0
LOG_SCALE = 0.16  # wide enough for the spread of the detectors' boxes around a face
LOG_ASPECT = 0.08
SHEAR = 0.08
SHIFT = 0.06  # of the side
LOG_GAMMA = 0.3
NOISE_SIGMA = 3.0  # grey levels
BLUR_SHARE = 0.1
BLUR_SIDES = (24, 40)  # faces this small, enlarged, look like this
ERASE_SHARE = 0.25
ERASE_SIDES = (0.12, 0.45)  # of the side


def augment(crops: Tensor, generator: torch.Generator, *, damage: float = 1.0) -> Tensor:
    """Randomly changed copies of `crops` (n, 1, side, side), float 0–255.

    `damage` from 0 to 1 is how many of those that may be blurred or erased in part are.
    """
    changed = _warp(crops, generator)
    changed = _blur(changed, generator, BLUR_SHARE * damage)
    gamma = torch.exp(_uniform(len(crops), LOG_GAMMA, generator))
    changed = 255 * (changed.clamp(0, 255) / 255) ** gamma[:, None, None, None]
    shape = (len(crops), 1, 1, 1)
    sigma = NOISE_SIGMA * torch.rand(shape, generator=generator, device=crops.device)
    noise = torch.randn(changed.shape, generator=generator, device=crops.device)
    changed = changed + sigma * noise
    return _erase(changed, generator, ERASE_SHARE * damage).clamp(0, 255)


def _uniform(count: int, limit: float, generator: torch.Generator) -> Tensor:
    return (2 * _random(count, generator) - 1) * limit


def _random(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator, device=generator.device)


def _warp(crops: Tensor, generator: torch.Generator) -> Tensor:
    count = len(crops)
    angle = _uniform(count, math.radians(ROTATION_DEGREES), generator)
    scale = torch.exp(_uniform(count, LOG_SCALE, generator))
    aspect = torch.exp(_uniform(count, LOG_ASPECT, generator))
    shear = _uniform(count, SHEAR, generator)
    mirror = torch.where(_random(count, generator) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    across, down = scale * aspect, scale / aspect
    matrix = torch.zeros(count, 2, 3, device=crops.device)
    matrix[:, 0, 0] = mirror * across * cos
    matrix[:, 0, 1] = down * (shear * cos - sin)
    matrix[:, 1, 0] = mirror * across * sin
    matrix[:, 1, 1] = down * (shear * sin + cos)
    # affine_grid measures the side as 2, from -1 to 1.
    matrix[:, 0, 2] = _uniform(count, 2 * SHIFT, generator)
    matrix[:, 1, 2] = _uniform(count, 2 * SHIFT, generator)
    grid = F.affine_grid(matrix, list(crops.shape), align_corners=False)
    return F.grid_sample(crops, grid, padding_mode="border", align_corners=False)


def _blur(crops: Tensor, generator: torch.Generator, share: float) -> Tensor:
    """Shrink and enlarge a random share; one size a batch keeps it one call."""
    side = crops.shape[-1]
    low, high = BLUR_SIDES
    small = int(low + (high + 1 - low) * _random(1, generator))
    chosen = _random(len(crops), generator) < share
    if chosen.any():
        shrunk = F.interpolate(crops[chosen], size=small, mode="area")
        crops = crops.clone()
        crops[chosen] = F.interpolate(shrunk, size=side, mode="bilinear", align_corners=False)
    return crops


def _erase(crops: Tensor, generator: torch.Generator, share: float) -> Tensor:
    """One rectangle of uniform grey on a random share (Zhong et al. 2017, arXiv 1708.04896)."""
    count, side = len(crops), crops.shape[-1]
    low, high = ERASE_SIDES
    height = side * (low + (high - low) * _random(count, generator))
    width = side * (low + (high - low) * _random(count, generator))
    top = (side - height) * _random(count, generator)
    left = (side - width) * _random(count, generator)
    gray = 255 * _random(count, generator)[:, None, None, None]
    chosen = _random(count, generator) < share
    steps = torch.arange(side, device=crops.device)
    rows = (steps >= top[:, None]) & (steps < (top + height)[:, None])
    columns = (steps >= left[:, None]) & (steps < (left + width)[:, None])
    inside = (rows[:, :, None] & columns[:, None, :] & chosen[:, None, None])[:, None]
    return torch.where(inside, gray, crops)
