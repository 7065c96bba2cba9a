"""Cuts long images into tiles for networks with a square input.

Usually a network gets the whole image, reduced to the square. In an image with an extreme aspect
ratio, the faces would then be too small to be found, so the image is cut into tiles. Adjacent tiles
overlap by the shorter side of the image. Each face of up to 96 % of the shorter side (100 % minus
twice EDGE) is therefore completely in at least one tile, away from the cuts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np

from app.vision.image import Raster
from app.vision.types import Box, Detection

MAX_ASPECT = 4  # maximum ratio of the sides of an image that is searched as a whole
MAX_TILES = 12  # limits the cost; an image that would need more tiles gets longer tiles
EDGE = 0.02  # share of the shorter side; a box this close to a cut may be only part of a face

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of an image: the whole shorter side, and the longer side from `start` to `end`.

    `start`, `end` and the longer side `length` are in pixels of the original.
    """

    raster: Raster
    start: float
    end: float
    length: float
    is_wide: bool

    def in_image(self, box: Box) -> Box:
        """Convert a box of this tile into pixels of the whole image."""
        dx, dy = (self.start, 0.0) if self.is_wide else (0.0, self.start)
        return Box(box.x1 + dx, box.y1 + dy, box.x2 + dx, box.y2 + dy)

    def is_cut(self, box: Box) -> bool:
        """Return whether `box`, in pixels of the whole image, touches a cut edge of this tile."""
        low, high = (box.x1, box.x2) if self.is_wide else (box.y1, box.y2)
        margin = EDGE * min(self.raster.size_wh)
        return (self.start > 0 and low <= self.start + margin) or (
            self.end < self.length and high >= self.end - margin
        )


def searched_side(width: int, height: int) -> int:
    """Return the longer side of the part that a network searches at once, in pixels of the
    original."""
    return min(max(width, height), MAX_ASPECT * min(width, height))


def cut_into_tiles(raster: Raster, square: int) -> list[Tile]:
    """Cut an image into tiles for a network that takes squares of up to `square` pixels. An image
    whose aspect ratio is at most MAX_ASPECT, or that fits into the square, is one tile."""
    height, width = raster.gray.shape
    is_wide = width >= height
    length, breadth = max(width, height), min(width, height)
    total = float(max(raster.size_wh))
    limit = max(MAX_ASPECT * breadth, square)
    if length <= limit:
        return [Tile(raster, 0.0, total, total, is_wide)]
    overlap = min(breadth, limit // 2)
    count = min(MAX_TILES, math.ceil((length - overlap) / (limit - overlap)))
    side = math.ceil((length + (count - 1) * overlap) / count)
    starts = np.linspace(0, length - side, count).round().astype(int).tolist()
    return [_tile(raster, start, start + side, is_wide) for start in starts]


def _tile(raster: Raster, start: int, end: int, is_wide: bool) -> Tile:
    """Cut one tile. `start` and `end` are in pixels of `raster`."""
    part = np.s_[:, start:end] if is_wide else np.s_[start:end]
    width, height = raster.size_wh
    total = max(raster.size_wh)
    to_original = total / max(raster.gray.shape)
    low, high = start * to_original, min(total, end * to_original)
    side = math.ceil(high - low)
    colors = None if raster.colors is None else raster.colors[part]
    tile = Raster(
        raster.gray[part], (side, height) if is_wide else (width, side), raster.scale, colors
    )
    return Tile(tile, low, high, float(total), is_wide)


def search_tiles(
    raster: Raster,
    square: int,
    find: Callable[[Raster], list[tuple[Detection, Item]]],
    *,
    nms_iou: float,
) -> list[tuple[Detection, Item]]:
    """Apply `find` to the tiles of an image and return the faces with boxes in pixels of the
    original. If boxes overlap by more than `nms_iou`, returns only the box with the highest
    score."""
    tiles = cut_into_tiles(raster, square)
    if len(tiles) == 1:
        return find(raster)
    width, height = raster.size_wh
    found = []
    for tile in tiles:
        for detection, item in find(tile.raster):
            box = tile.in_image(detection.box)
            if not tile.is_cut(box) and box.x1 < width and box.y1 < height:
                inside = Box(box.x1, box.y1, min(box.x2, width), min(box.y2, height))
                found.append((Detection(inside, detection.score), item))
    indices = cv2.dnn.NMSBoxes(
        [(each.box.x1, each.box.y1, each.box.width, each.box.height) for each, _ in found],
        [1.0 if each.score is None else each.score for each, _ in found],
        0.0,
        nms_iou,
    )
    return [found[index] for index in indices]
