"""Images on the GPU in one flat buffer, with pyramids against aliasing, and rendering of views."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEVELS = 4  # levels of a pyramid: scales 1, 1/2, 1/4 and 1/8


class Pixels(NamedTuple):
    """The pyramids of images. `buffer` (pixels, 3) uint8 BGR contains each level of each image row
    by row. `base` (images, LEVELS) is the start of a level; `width` and `height` are its size."""

    buffer: Tensor
    base: Tensor
    width: Tensor
    height: Tensor


def upload(images: Sequence[NDArray[np.uint8]], device: torch.device, *, threads: int) -> Pixels:
    """Build the pyramids of images (height, width, 3) and copy them to a device."""
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
    """The view of an image in each tile of a scene. The shape of each field is (scenes, tiles) or
    (scenes, tiles, k).

    A point p of the scene shows the image at `source` + F·Rᵀ(p − `target`) / `scale`. R rotates by
    `angle`, and F mirrors if `flip` is -1. A value v becomes 255·(v / 255)^`gamma` · `gain` +
    `light`. Tiles with `gray` are converted to grey before.
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
        """Map boxes (scenes, tiles, n, 4) of the images to the scenes. Rotation does not change
        their size, because a tilted head is as wide as an upright one."""
        centres = (boxes[..., :2] + boxes[..., 2:]) / 2 - self.source[:, :, None]
        half = (boxes[..., 2:] - boxes[..., :2]) / 2 * self.scale[:, :, None, None]
        x, y = centres.unbind(-1)
        x = x * self.flip[..., None]
        cos, sin = self.angle.cos()[..., None], self.angle.sin()[..., None]
        rotated = torch.stack([cos * x - sin * y, sin * x + cos * y], dim=-1)
        centres = self.target[:, :, None] + rotated * self.scale[:, :, None, None]
        return torch.cat([centres - half, centres + half], dim=-1)


def render(pixels: Pixels, views: Views, tile: Tensor, side: int) -> Tensor:
    """Render scenes (scenes, side, side, 3) float 0–255. `tile` (scenes, side, side) is the index
    of the tile of each pixel. Pixels outside of the image are black."""
    level = (-views.scale.log2()).floor().clamp(0, LEVELS - 1).long()
    reduction = 2.0**level
    cos, sin = views.angle.cos() / views.scale, views.angle.sin() / views.scale
    row = torch.arange(len(tile), device=tile.device)[:, None, None]
    transform = torch.stack(
        [
            cos * views.flip / reduction,
            sin * views.flip / reduction,
            -sin / reduction,
            cos / reduction,
            views.target[..., 0],
            views.target[..., 1],
            views.source[..., 0] / reduction - 0.5,
            views.source[..., 1] / reduction - 0.5,
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
    colour = torch.cat(
        [views.gain, views.gamma[..., None], views.light[..., None], views.gray[..., None]], dim=-1
    )[row, tile]
    gray = (scene * scene.new_tensor([0.114, 0.587, 0.299])).sum(dim=-1, keepdim=True)
    scene = torch.lerp(scene, gray, colour[..., 5:6])
    scene = 255 * (scene / 255).clamp(min=1e-4) ** colour[..., 3:4]
    scene = scene * colour[..., :3] + colour[..., 4:5]
    return scene.clamp(0, 255).masked_fill(outside[..., None], 0)


def _at(pixels: Pixels, index: Tensor) -> Tensor:
    return pixels.buffer[index].float()
