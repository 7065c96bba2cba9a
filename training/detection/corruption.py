"""Random blur, noise and JPEG artefacts for a batch of images on the GPU."""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

BLUR_SHARE, NOISE_SHARE, JPEG_SHARE = 0.2, 0.15, 0.25
NOISE = 10.0
JPEG_STEPS = (2.0, 14.0)  # range of the quantisation step of the lowest frequency
BLOCK = 8


def corrupt(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return corrupted copies of images (n, 3, height, width) float 0–255. The sides are multiples
    of BLOCK."""
    count, device = len(images), images.device

    def random(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    blurred = F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    blurred = torch.where(
        (random(count) < 0.4)[:, None, None, None],
        F.avg_pool2d(blurred, 3, stride=1, padding=1, count_include_pad=False),
        blurred,
    )
    share = random(count) * (random(count) < BLUR_SHARE)
    images = torch.lerp(images, blurred, share[:, None, None, None])
    sigma = NOISE * random(count) * (random(count) < NOISE_SHARE)
    grain = torch.randn((count, 1, *images.shape[2:]), generator=generator, device=device)
    images = images + grain * sigma[:, None, None, None]
    jpeg_count = max(1, int(JPEG_SHARE * count))
    rows = torch.randperm(count, generator=generator, device=device)[:jpeg_count]
    images[rows] = _jpeg(images[rows], random(jpeg_count))
    return images.clamp(0, 255)


def _jpeg(images: Tensor, strength: Tensor) -> Tensor:
    """Quantise the cosine transform of 8×8 blocks, with larger steps for higher frequencies.
    `strength` (n,) is from 0 to 1."""
    n, channels, height, width = images.shape
    basis, factors = _basis(images.device)
    low, high = map(math.log, JPEG_STEPS)
    step = (low + (high - low) * strength).exp()[:, None, None, None, None, None]
    blocks = images.reshape(n, channels, height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    coefficients = torch.einsum("ui,ncaibj,vj->ncabuv", basis, blocks - 128, basis)
    coefficients = (coefficients / (step * factors)).round() * (step * factors)
    decoded = torch.einsum("ui,ncabuv,vj->ncaibj", basis, coefficients, basis)
    return decoded.reshape(n, channels, height, width) + 128


@lru_cache(maxsize=4)
def _basis(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the cosine basis (8, 8) and the step of each frequency (8, 8), relative to the
    lowest."""
    k = torch.arange(BLOCK, dtype=torch.float32)
    basis = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / (2 * BLOCK)) * 0.5
    basis[0] /= math.sqrt(2)
    return basis.to(device), (1 + 0.6 * (k[:, None] + k[None])).to(device)
