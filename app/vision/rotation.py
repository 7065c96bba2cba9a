"""Rotates images by multiples of 90 degrees, and maps boxes back to the original image."""

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
ROTATIONS = (90, 180, 270)  # degrees clockwise; `rotate=auto` tries them in this order

_CODES = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class RotatedDetection(Generic[Item]):
    """A face that was found in an image rotated by 0, 90, 180 or 270 degrees.

    `detection` is in pixels of the original, `rotated_box` in pixels of the rotated image. `item`
    is other data about the face, such as scores.
    """

    detection: Detection
    rotated_box: Box
    item: Item


def rotated(raster: Raster, rotation: int) -> Raster:
    """Rotate the image by 0, 90, 180 or 270 degrees clockwise."""
    if rotation == 0:
        return raster
    width, height = raster.size_wh
    size_wh = (width, height) if rotation == 180 else (height, width)
    colors = None if raster.colors is None else _rotated_pixels(raster.colors, rotation)
    return Raster(_rotated_pixels(raster.gray, rotation), size_wh, raster.scale, colors)


def rotated_gray(raster: Raster, rotation: int) -> NDArray[np.uint8]:
    """Rotate only the grey pixels (height, width) of the image."""
    return _rotated_pixels(raster.gray, rotation) if rotation else raster.gray


def _rotated_pixels(pixels: NDArray[np.uint8], rotation: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.rotate(pixels, _CODES[rotation]), dtype=np.uint8)


def rotated_back(box: Box, rotation: int, size_wh: tuple[int, int]) -> Box:
    """Map a box of an image that was rotated by `rotation` to pixels of the original image, which
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


def search_rotated(
    raster: Raster, rotation: int, find: Callable[[Raster], list[tuple[Detection, Item]]]
) -> list[RotatedDetection[Item]]:
    """Rotate the image by `rotation` and return the faces that `find` finds."""
    return [
        RotatedDetection(
            Detection(rotated_back(each.box, rotation, raster.size_wh), each.score), each.box, item
        )
        for each, item in find(rotated(raster, rotation))
    ]
