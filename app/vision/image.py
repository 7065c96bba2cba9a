"""Reads, crops and resizes images, in the same way for serving, evaluation and training."""

import math
import struct
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.errors import ImageTooLarge
from app.vision.decoding import apply_orientation, load_pixels, open_image, translated_errors
from app.vision.image_type import IMAGE_TYPES, image_type
from app.vision.pixels import as_uint8, gray_and_bgr, limit_pixels
from app.vision.types import Box

__all__ = [
    "IMAGE_TYPES",
    "ImageFile",
    "Raster",
    "crop_face",
    "image_type",
    "letterbox",
    "resized",
    "shrink",
]

# If padding would make a crop more than this number of times larger, the crop is reduced first.
MAX_PADDED = 16
_PNG_SIZE = slice(16, 24)  # width and height, big-endian, in the first chunk of every PNG


@dataclass(frozen=True, slots=True)
class Raster:
    """The pixels of an upright image, possibly reduced.

    `gray`: grey pixels (height, width) uint8 with the Rec. 601 weights. `size_wh`: size of the
    original in pixels. `scale`: side of the raster divided by the side of the original, at most 1.
    `colors`: BGR pixels (height, width, 3) uint8, or None if the colours were not read.
    """

    gray: NDArray[np.uint8]
    size_wh: tuple[int, int]
    scale: float = 1.0
    colors: NDArray[np.uint8] | None = None

    @property
    def bgr(self) -> NDArray[np.uint8]:
        """BGR pixels (height, width, 3) uint8. Raises ValueError if the colours were not read."""
        if self.colors is None:
            raise ValueError("the image was read without its colours")
        return self.colors


class ImageFile:
    """An opened image file. The type and the size are known; the pixels are not decoded yet.

    `width`, `height` and `longer_side` are in pixels before the EXIF orientation is applied.
    `pixels` is the number of pixels.

    Raises NoImage for an empty file, UnsupportedImageType for a type or feature that is not
    supported, ImageTooLarge if the header states more than `max_pixels`, and UndecodableImage for
    an invalid header. The messages contain the reason.
    """

    def __init__(self, data: bytes, *, max_pixels: int) -> None:
        self._kind = image_type(data)
        self._max_pixels = max_pixels
        if self._kind == "PNG" and len(data) >= _PNG_SIZE.stop:
            # Check the size before Pillow reads all chunks in front of the pixels.
            self._check_size(*struct.unpack(">II", data[_PNG_SIZE]))
        with translated_errors(self._kind, max_pixels):
            self._opened = open_image(data, self._kind, max_pixels)
        self._check_size(*self._opened.image.size)
        self.width, self.height = self._opened.image.size
        self.longer_side = max(self._opened.image.size)
        self.pixels = self._opened.image.width * self._opened.image.height

    def read(
        self, *, scale: float = 1.0, color: bool = False, max_output_pixels: int | None = None
    ) -> Raster:
        """Decode the pixels. Can be called only once.

        Reads the first frame of an animation, scales channels to 8 bits, applies the EXIF
        orientation and puts transparent pixels on white. To save time, a JPEG is read at 1/2, 1/4
        or 1/8 of its size if the reduced size is still at least `scale`. It is read without colours
        unless `color` is set.
        An image of any type with more than `max_output_pixels` is reduced to that number.

        Raises UndecodableImage for a file that is damaged or truncated, and UnsupportedImageType
        for a pixel format that is not supported.
        """
        with translated_errors(self._kind, self._max_pixels), self._opened.image as image:
            width, height = image.size
            if max_output_pixels is not None:
                scale = min(scale, math.sqrt(max_output_pixels / self.pixels))
            min_size = (max(1, int(width * scale)), max(1, int(height * scale)))
            draft = (None if color else "L", min_size)
            decoded, actual_scale = load_pixels(self._opened, draft)
            if self._opened.crop:
                width, height = decoded.size
            upright, swapped = apply_orientation(decoded, self._kind)
            if swapped:
                width, height = height, width
            if max_output_pixels is not None:
                small = limit_pixels(upright, self._kind, max_output_pixels)
                actual_scale *= small.width / upright.width
                upright = small
            gray, colors = gray_and_bgr(upright, self._kind, color=color)
        return Raster(gray, (width, height), actual_scale, colors)

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise ImageTooLarge(
                f"the image has {width}x{height} pixels, more than the {self._max_pixels:,} "
                "allowed: send a smaller image"
            )


def shrink(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Scale the sides of an image (height, width, …) by `factor` without aliasing. Returns the
    image unchanged if `factor` is 1 or more."""
    return image if factor >= 1 else _scaled(image, factor, cv2.INTER_AREA)


def resized(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Scale the sides of an image (height, width, …) by `factor`, as single-shot networks expect.

    The interpolation is linear for factors of at least 1/2, because linear interpolation is eight
    times faster than area interpolation and still uses every pixel at these factors. For smaller
    factors it is area interpolation.
    """
    return _scaled(image, factor, cv2.INTER_LINEAR if factor >= 0.5 else cv2.INTER_AREA)


def _scaled(image: NDArray[np.uint8], factor: float, interpolation: int) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    size_wh = max(1, round(width * factor)), max(1, round(height * factor))
    return as_uint8(cv2.resize(image, size_wh, interpolation=interpolation))


def letterbox(image_bgr: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], float]:
    """Put an image (height, width, 3) into the top left corner of a black square (side, side, 3).

    A larger image is reduced to fit; a smaller image is not enlarged. Returns the square and the
    scale: pixels of the square per pixel of the image.
    """
    factor = min(1.0, side / max(image_bgr.shape[:2]))
    small = resized(image_bgr, factor) if factor < 1 else image_bgr
    square = np.zeros((side, side, 3), np.uint8)
    square[: small.shape[0], : small.shape[1]] = small
    return square, factor


def crop_face(
    image_gray: NDArray[np.uint8], box: Box, *, size: int, scale: float = 1.0
) -> NDArray[np.uint8]:
    """Crop one face for a classifier. Returns (size, size) uint8.

    The crop is a square around the centre of the box. The side is `scale` times the longer side of
    the box. Pixels outside the image repeat the edge of the image. The crop is reduced with area
    interpolation (without aliasing) and enlarged linearly.

    Raises ValueError if no part of the square is inside the image.
    """
    height, width = image_gray.shape
    side = max(1, round(max(box.width, box.height) * scale))
    left = round((box.x1 + box.x2 - side) / 2)
    top = round((box.y1 + box.y2 - side) / 2)
    right, bottom = left + side, top + side
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        raise ValueError(f"box {box.xyxy} is outside the {width}x{height} image")
    inside = image_gray[max(top, 0) : bottom, max(left, 0) : right]
    margins = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
    if side * side > MAX_PADDED * inside.size:
        return _padded_small(inside, margins, size=size, side=side)
    square = cv2.copyMakeBorder(inside, *margins, cv2.BORDER_REPLICATE)
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    crop = cv2.resize(square, (size, size), interpolation=interpolation)
    return np.asarray(crop, dtype=np.uint8)


def _padded_small(
    inside: NDArray[np.uint8], margins: tuple[int, int, int, int], *, size: int, side: int
) -> NDArray[np.uint8]:
    """Reduce the part inside the image and then pad it.

    For a strip that is a few pixels wide, a padded square of full size would need too much memory.
    Padding first would give the same crop, shifted by at most one pixel.
    """
    height, width = (max(1, round(length * size / side)) for length in inside.shape)
    small = cv2.resize(inside, (width, height), interpolation=cv2.INTER_AREA)
    top, left = (min(round(margins[index] * size / side), size - 1) for index in (0, 2))
    top, left = min(top, size - height), min(left, size - width)
    padded = cv2.copyMakeBorder(
        small, top, size - height - top, left, size - width - left, cv2.BORDER_REPLICATE
    )
    return np.asarray(padded, dtype=np.uint8)
