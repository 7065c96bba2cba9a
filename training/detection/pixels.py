"""Images on the GPU as one flat buffer of pixels, with pyramids against aliasing."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEVELS = 4  # of a pyramid: the image, half of it, a quarter, an eighth


class Pixels(NamedTuple):
    """`buffer` (pixels, 3) uint8 BGR holds each level of each image row by row. `base`, `width` and
    `height` (images, LEVELS) say where a level begins and how large it is."""

    buffer: Tensor
    base: Tensor
    width: Tensor
    height: Tensor


def upload(images: Sequence[NDArray[np.uint8]], device: torch.device, *, threads: int) -> Pixels:
    """The pyramids of images (height, width, 3) on a device."""
    with ThreadPoolExecutor(threads) as pool:
        pyramids = list(pool.map(_pyramid, images))
    flat = [level.reshape(-1, 3) for pyramid in pyramids for level in pyramid]
    sizes = np.array([[level.shape[:2] for level in pyramid] for pyramid in pyramids])
    lengths = sizes.prod(axis=2)
    base = np.cumsum([0, *lengths.ravel()[:-1].tolist()]).reshape(lengths.shape)
    return Pixels(
        torch.from_numpy(np.concatenate(flat)).to(device),
        torch.from_numpy(base).to(device),
        torch.from_numpy(sizes[..., 1].astype(np.int64)).to(device),
        torch.from_numpy(sizes[..., 0].astype(np.int64)).to(device),
    )


def _pyramid(image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    levels = [image]
    for _ in range(LEVELS - 1):
        height, width = levels[-1].shape[:2]
        half = max(1, width // 2), max(1, height // 2)
        levels.append(
            np.asarray(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA), np.uint8)
        )
    return levels


class Views(NamedTuple):
    """How tiles of scenes show images, each field (scenes, tiles) or (scenes, tiles, k).

    A point p of the scene shows the image at `source` + F·Rᵀ(p − `target`) / `scale`, where R turns
    by `angle` and F mirrors where `flip` is -1. Values become 255·(v / 255)^`gamma` · `gain` +
    `light`; `gray` tiles lose their colours first.
    """

    image: Tensor
    source: Tensor
    target: Tensor
    scale: Tensor
    angle: Tensor
    flip: Tensor
    gamma: Tensor
    gain: Tensor
    light: Tensor
    gray: Tensor

    def boxes(self, boxes: Tensor) -> Tensor:
        """Where boxes (scenes, tiles, n, 4) of the images lie in the scenes. Boxes keep their
        sides when a view is turned: a tilted head is as wide as an upright one."""
        middle = (boxes[..., :2] + boxes[..., 2:]) / 2 - self.source[:, :, None]
        half = (boxes[..., 2:] - boxes[..., :2]) / 2 * self.scale[:, :, None, None]
        x, y = middle.unbind(-1)
        x = x * self.flip[..., None]
        cos, sin = self.angle.cos()[..., None], self.angle.sin()[..., None]
        turned = torch.stack([cos * x - sin * y, sin * x + cos * y], dim=-1)
        middle = self.target[:, :, None] + turned * self.scale[:, :, None, None]
        return torch.cat([middle - half, middle + half], dim=-1)


def render(pixels: Pixels, views: Views, tile: Tensor, side: int) -> Tensor:
    """Scenes (scenes, side, side, 3) float 0–255: the tile (scenes, side, side) of each point shows
    its view, black where the image ends."""
    level = (-views.scale.log2()).floor().clamp(0, LEVELS - 1).long()
    shrink = 2.0**level
    cos, sin = views.angle.cos() / views.scale, views.angle.sin() / views.scale
    row = torch.arange(len(tile), device=tile.device)[:, None, None]
    transform = torch.stack(
        [
            cos * views.flip / shrink,
            sin * views.flip / shrink,
            -sin / shrink,
            cos / shrink,
            views.target[..., 0],
            views.target[..., 1],
            (views.source[..., 0]) / shrink - 0.5,
            (views.source[..., 1]) / shrink - 0.5,
        ],
        dim=-1,
    )[row, tile]
    steps = torch.arange(side, device=tile.device) + 0.5
    x = steps[None, None, :] - transform[..., 4]
    y = steps[None, :, None] - transform[..., 5]
    u = transform[..., 0] * x + transform[..., 1] * y + transform[..., 6]
    v = transform[..., 2] * x + transform[..., 3] * y + transform[..., 7]
    chosen = views.image, level
    base, width, height = (
        each[chosen][row, tile] for each in (pixels.base, pixels.width, pixels.height)
    )
    outside = (u < -0.5) | (v < -0.5) | (u > width - 0.5) | (v > height - 0.5)
    left, top = u.floor(), v.floor()
    across, down = (u - left)[..., None], (v - top)[..., None]
    zero = torch.zeros_like(width)
    x0 = torch.minimum(left.long().clamp(min=0), width - 1)
    x1 = torch.minimum((left.long() + 1).clamp(min=0), width - 1)
    y0 = base + torch.minimum(torch.maximum(top.long(), zero), height - 1) * width
    y1 = base + torch.minimum(torch.maximum(top.long() + 1, zero), height - 1) * width
    upper = torch.lerp(_at(pixels, y0 + x0), _at(pixels, y0 + x1), across)
    lower = torch.lerp(_at(pixels, y1 + x0), _at(pixels, y1 + x1), across)
    scene = torch.lerp(upper, lower, down)
    scene = scene.masked_fill(outside[..., None], 0)
    look = torch.cat(
        [views.gain, views.gamma[..., None], views.light[..., None], views.gray[..., None]], dim=-1
    )[row, tile]
    gray = (scene * scene.new_tensor([0.114, 0.587, 0.299])).sum(dim=-1, keepdim=True)
    scene = torch.lerp(scene, gray, look[..., 5:6])
    scene = 255 * (scene / 255).clamp(min=1e-4) ** look[..., 3:4] * look[..., :3] + look[..., 4:5]
    return scene.clamp(0, 255).masked_fill(outside[..., None], 0)


def _at(pixels: Pixels, index: Tensor) -> Tensor:
    return pixels.buffer[index].float()
