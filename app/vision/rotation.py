"""Turns images that lie on their side, and turns boxes back into the pixels of the original."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from app.vision.image import Raster
from app.vision.types import Box, Detection

NONE, AUTO = "none", "auto"
ROTATE = (NONE, AUTO)  # the values of the option `rotate`
TURNS = (90, 180, 270)  # degrees clockwise, in the order in which they are tried

_CODES = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class FoundFace(Generic[Item]):
    """A face: its detection in pixels of the original, its box in the turned image, and `item`,
    anything else that was found about it."""

    detection: Detection
    turned_box: Box
    item: Item


def turned(raster: Raster, rotation: int) -> Raster:
    """The image turned by 0, 90, 180 or 270 degrees clockwise."""
    if rotation == 0:
        return raster
    width, height = raster.size_wh
    size_wh = (width, height) if rotation == 180 else (height, width)
    colors = None if raster.colors is None else _turned(raster.colors, rotation)
    return Raster(_turned(raster.gray, rotation), size_wh, raster.scale, colors)


def turned_gray(raster: Raster, rotation: int) -> NDArray[np.uint8]:
    """The grey pixels of the turned image."""
    return _turned(raster.gray, rotation) if rotation else raster.gray


def _turned(pixels: NDArray[np.uint8], rotation: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.rotate(pixels, _CODES[rotation]), dtype=np.uint8)


def turned_back(box: Box, rotation: int, size_wh: tuple[int, int]) -> Box:
    """Convert a box of an image that was turned by `rotation` into pixels of the original, which
    has the size `size_wh`."""
    width, height = size_wh
    x1, y1, x2, y2 = box.xyxy
    if rotation == 90:
        return Box(y1, height - x2, y2, height - x1)
    if rotation == 180:
        return Box(width - x2, height - y2, width - x1, height - y1)
    if rotation == 270:
        return Box(width - y2, x1, width - y1, x2)
    return box


def search_turned(
    raster: Raster, rotation: int, find: Callable[[Raster], list[tuple[Detection, Item]]]
) -> list[FoundFace[Item]]:
    """Turn the image by `rotation` and return the faces that `find` finds in it."""
    return [
        FoundFace(
            Detection(turned_back(each.box, rotation, raster.size_wh), each.score), each.box, item
        )
        for each, item in find(turned(raster, rotation))
    ]
