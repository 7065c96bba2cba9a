"""Batched augmentation of grey crops: an affine warp, corruption, and changes of the lighting.

All operations run on the device of the crops and read no values back, so a GPU never waits for the
CPU. Batches are in random order, so an operation that applies to a share of a batch changes its
first or last rows.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Strength:
    """The strength of each augmentation.

    Rotation is in degrees, shifts and `erase_sides` are relative to the side of the crop, noise is
    in grey levels. `rotation` and `log_scale` are the limits of uniform distributions; with
    `normal`, they are the standard deviations of normal distributions. `lighting` is the largest
    relative change of brightness between centre and edge.
    """

    rotation: float = 14.0
    log_scale: float = 0.16  # covers the variation of the boxes of the detectors
    normal: bool = False
    log_aspect: float = 0.08
    shear: float = 0.08
    shift: float = 0.06
    log_gamma: float = 0.3
    lighting: float = 0.0
    noise_sigma: float = 3.0
    blur_share: float = 0.1
    jpeg_share: float = 0.0
    erase_share: float = 0.25
    erase_sides: tuple[float, float] = (0.12, 0.45)


STRENGTHS = {
    "mild": Strength(),
    "strong": Strength(
        rotation=12.0,
        log_scale=0.14,
        normal=True,
        log_aspect=0.1,
        shear=0.1,
        shift=0.07,
        log_gamma=0.45,
        lighting=0.35,
        noise_sigma=5.0,
        blur_share=0.25,
        jpeg_share=0.15,
        erase_share=0.35,
    ),
}
MILD = STRENGTHS["mild"]
MAX_DEVIATION = 2.7  # normal values are clipped at this number of standard deviations
BLUR_SIDES = (0.4, 0.55, 0.8)  # scale to which a crop is reduced before it is enlarged again
JPEG_STEPS = (12.0, 28.0)  # largest quantisation steps in grey levels, for half of the rows each


def augment(
    crops: Tensor,
    generator: torch.Generator,
    *,
    side: int | None = None,
    strength: Strength = MILD,
    corruption: float = 1.0,
) -> Tensor:
    """Return augmented copies (n, 1, side, side) of `crops` (n, 1, canvas, canvas), float 0–255.

    The crop is the centre of `side` pixels of a canvas. Shifts, rotations and larger scales show
    parts of the margin. `corruption` from 0 to 1 scales the shares of crops that are blurred,
    compressed or partly erased.
    """
    side = side or crops.shape[-1]
    changed = _warp(crops, generator, side, strength)
    changed = _blur(changed, strength.blur_share * corruption)
    changed = _compress(changed, strength.jpeg_share * corruption)
    gamma = torch.exp(_uniform(len(crops), strength.log_gamma, generator))
    changed = 255 * (changed.clamp(0, 255) / 255) ** gamma[:, None, None, None]
    if strength.lighting:
        changed = changed * _lighting(len(crops), side, strength.lighting, generator)
    sigma = strength.noise_sigma * _random(len(crops), generator)[:, None, None, None]
    noise = torch.randn(changed.shape, generator=generator, device=crops.device)
    changed = changed + sigma * noise
    return _erase(changed, generator, strength.erase_share * corruption, strength).clamp(0, 255)


def _random(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator, device=generator.device)


def _uniform(count: int, limit: float, generator: torch.Generator) -> Tensor:
    return (2 * _random(count, generator) - 1) * limit


def _sample(count: int, limit: float, generator: torch.Generator, *, normal: bool) -> Tensor:
    if not normal:
        return _uniform(count, limit, generator)
    values = torch.randn(count, generator=generator, device=generator.device)
    return limit * values.clamp(-MAX_DEVIATION, MAX_DEVIATION)


def _warp(crops: Tensor, generator: torch.Generator, side: int, strength: Strength) -> Tensor:
    count, share = len(crops), side / crops.shape[-1]
    angle = _sample(count, math.radians(strength.rotation), generator, normal=strength.normal)
    scale = torch.exp(_sample(count, strength.log_scale, generator, normal=strength.normal))
    aspect = torch.exp(_uniform(count, strength.log_aspect, generator))
    shear = _uniform(count, strength.shear, generator)
    mirror = torch.where(_random(count, generator) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    across, down = share * scale * aspect, share * scale / aspect
    matrix = torch.zeros(count, 2, 3, device=crops.device)
    matrix[:, 0, 0] = mirror * across * cos
    matrix[:, 0, 1] = down * (shear * cos - sin)
    matrix[:, 1, 0] = mirror * across * sin
    matrix[:, 1, 1] = down * (shear * sin + cos)
    # The coordinates of affine_grid range from -1 to 1.
    matrix[:, 0, 2] = _uniform(count, 2 * share * strength.shift, generator)
    matrix[:, 1, 2] = _uniform(count, 2 * share * strength.shift, generator)
    grid = F.affine_grid(matrix, [count, 1, side, side], align_corners=False)
    return F.grid_sample(crops, grid, padding_mode="border", align_corners=False)


def _blur(crops: Tensor, share: float) -> Tensor:
    """Reduce and enlarge the first rows, with each of BLUR_SIDES for a third of them."""
    side, each = crops.shape[-1], round(len(crops) * share / len(BLUR_SIDES))
    parts = []
    for index, factor in enumerate(BLUR_SIDES):
        rows = crops[index * each : (index + 1) * each]
        if len(rows):
            shrunk = F.interpolate(rows, size=round(side * factor), mode="area")
            parts.append(F.interpolate(shrunk, size=side, mode="bilinear", align_corners=False))
    return torch.cat([*parts, crops[len(BLUR_SIDES) * each :]])


def _compress(crops: Tensor, share: float) -> Tensor:
    """Quantise the frequencies of 8×8 blocks of the last rows as JPEG does: the higher the
    frequency, the larger the step. Crops whose side is not a multiple of 8 are not changed."""
    side, each = crops.shape[-1], round(len(crops) * share / len(JPEG_STEPS))
    if side % 8 or not each:
        return crops
    basis = _cosines(crops.device)
    frequency = torch.arange(8, device=crops.device)
    coarseness = (1 + frequency[:, None] + frequency[None, :]) / 8
    parts = []
    for index, step in enumerate(JPEG_STEPS):
        start = len(crops) - (index + 1) * each
        rows = crops[start : start + each]
        blocks = rows.reshape(each, side // 8, 8, side // 8, 8).transpose(2, 3)
        steps = step * coarseness
        values = torch.round(basis @ blocks @ basis.T / steps) * steps
        parts.append((basis.T @ values @ basis).transpose(2, 3).reshape(rows.shape))
    return torch.cat([crops[: len(crops) - len(JPEG_STEPS) * each], *reversed(parts)])


def _cosines(device: torch.device) -> Tensor:
    """Return the matrix (8, 8) of the orthonormal discrete cosine transform."""
    steps = torch.arange(8, device=device, dtype=torch.float32)
    basis = torch.cos(math.pi * steps[:, None] * (2 * steps[None, :] + 1) / 16) / 2
    basis[0] /= math.sqrt(2)
    return basis


def _lighting(count: int, side: int, limit: float, generator: torch.Generator) -> Tensor:
    """Return factors (n, 1, side, side) that increase linearly in a random direction."""
    across, down = (_uniform(count, limit, generator)[:, None, None] for _ in range(2))
    steps = torch.linspace(-1, 1, side, device=generator.device)
    return (1 + across * steps[None, None, :] + down * steps[None, :, None])[:, None]


def _erase(crops: Tensor, generator: torch.Generator, share: float, strength: Strength) -> Tensor:
    """Erase a rectangle on a random share of the crops (Zhong et al. 2017, arXiv 1708.04896)."""
    count, side = len(crops), crops.shape[-1]
    low, high = strength.erase_sides
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
