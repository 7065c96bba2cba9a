"""The one reader, cropper and resizer of images, shared by serving and training."""

import math
import struct
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.errors import ImageTooLarge
from app.vision.decoding import load_pixels, open_image, translated_errors, turned_upright
from app.vision.image_type import IMAGE_TYPES, image_type
from app.vision.pixels import as_uint8, gray_and_bgr, reduced
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

MAX_PADDED = 16  # pixels of a crop that is padded at full size, for each pixel in the image
_PNG_SIZE = slice(16, 24)  # width and height, big-endian, in the first chunk of every PNG


@dataclass(frozen=True, slots=True)
class Raster:
    """The pixels of an upright image, possibly at a smaller scale than in the file.

    `gray` (height, width) uint8 by the Rec. 601 weights; `size_wh` is the original's, and `scale`
    the number of pixels here for one of the original's, at most 1. `colors` is `bgr`, or None if
    it was not asked for.
    """

    gray: NDArray[np.uint8]
    size_wh: tuple[int, int]
    scale: float = 1.0
    colors: NDArray[np.uint8] | None = None

    @property
    def bgr(self) -> NDArray[np.uint8]:
        """(height, width, 3) uint8. Raises ValueError if the colours were not read."""
        if self.colors is None:
            raise ValueError("the image was read without its colours")
        return self.colors


class ImageFile:
    """An image file whose type and size are known and whose pixels are not decoded yet.

    Raises NoImage; UnsupportedImageType for a type or feature that is not supported; ImageTooLarge
    for more than `max_pixels`, judged from the header; UndecodableImage for an invalid header. The
    messages name the reason.
    """

    def __init__(self, data: bytes, *, max_pixels: int) -> None:
        self._kind = image_type(data)
        self._max_pixels = max_pixels
        if self._kind == "PNG" and len(data) >= _PNG_SIZE.stop:
            # Pillow would first read as far as the pixels.
            self._check_size(*struct.unpack(">II", data[_PNG_SIZE]))
        with translated_errors(self._kind, max_pixels):
            self._opened = open_image(data, self._kind, max_pixels)
        self._check_size(*self._opened.image.size)
        self.width, self.height = self._opened.image.size  # before it is turned upright
        self.longer_side = max(self._opened.image.size)
        self.pixels = self._opened.image.width * self._opened.image.height

    def read(
        self, *, scale: float = 1.0, color: bool = False, max_output_pixels: int | None = None
    ) -> Raster:
        """Decode the pixels. Can be called only once.

        Reads the first frame of an animation, scales channels to 8 bits, applies the EXIF
        orientation and puts transparent pixels on white. To save time, a JPEG is read at 1/2, 1/4
        or 1/8 of its size if that is at least `scale`, and without colours unless `color` is set.
        An image of any type with more than `max_output_pixels` is reduced to that number.

        Raises UndecodableImage for a file that is damaged or cut short, and UnsupportedImageType
        for a pixel format that is not supported.
        """
        with translated_errors(self._kind, self._max_pixels), self._opened.image as image:
            width, height = image.size
            if max_output_pixels is not None:
                scale = min(scale, math.sqrt(max_output_pixels / self.pixels))
            least = (max(1, int(width * scale)), max(1, int(height * scale)))
            draft = (None if color else "L", least)
            decoded, made = load_pixels(self._opened, draft)
            if self._opened.crop:
                width, height = decoded.size
            upright, swapped = turned_upright(decoded, self._kind)
            if swapped:
                width, height = height, width
            if max_output_pixels is not None:
                small = reduced(upright, self._kind, max_output_pixels)
                upright, made = small, made * small.width / upright.width
            gray, colors = gray_and_bgr(upright, self._kind, color=color)
        return Raster(gray, (width, height), made, colors)

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise ImageTooLarge(
                f"the image has {width}x{height} pixels, more than the {self._max_pixels:,} allowed"
            )


def shrink(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """`image` (height, width, …) with `factor` times as many pixels a side, without aliasing; as it
    is where `factor` is 1 or more."""
    return image if factor >= 1 else _scaled(image, factor, cv2.INTER_AREA)


def resized(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """`image` (height, width, …) with `factor` times as many pixels a side, as one-pass networks
    see it: linear, which costs an eighth of the mean over areas and from 1/2 on leaves no pixel
    out; below 1/2 by area."""
    return _scaled(image, factor, cv2.INTER_LINEAR if factor >= 0.5 else cv2.INTER_AREA)


def _scaled(image: NDArray[np.uint8], factor: float, interpolation: int) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    size_wh = max(1, round(width * factor)), max(1, round(height * factor))
    return as_uint8(cv2.resize(image, size_wh, interpolation=interpolation))


def letterbox(image_bgr: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], float]:
    """A square (side, side, 3) with `image_bgr` (height, width, 3) in its top left corner, shrunk
    until it fits and never enlarged, black beside it; and the pixels there for one of the image's.
    """
    factor = min(1.0, side / max(image_bgr.shape[:2]))
    small = resized(image_bgr, factor) if factor < 1 else image_bgr
    square = np.zeros((side, side, 3), np.uint8)
    square[: small.shape[0], : small.shape[1]] = small
    return square, factor


def crop_face(
    image_gray: NDArray[np.uint8], box: Box, *, size: int, scale: float = 1.0
) -> NDArray[np.uint8]:
    """The classifier's view of one face: (size, size) uint8.

    A square around the box's centre whose side is `scale` times the box's longer side; what lies
    outside the image repeats its edge. Shrinks by area (no aliasing), enlarges linearly.

    Raises ValueError when no part of the square lies in the image.
    """
    height, width = image_gray.shape
    side = max(1, round(max(box.width, box.height) * scale))
    left = round((box.x1 + box.x2 - side) / 2)
    top = round((box.y1 + box.y2 - side) / 2)
    right, bottom = left + side, top + side
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        raise ValueError(f"box {box.xyxy} lies outside the {width}x{height} image")
    inside = image_gray[max(top, 0) : bottom, max(left, 0) : right]
    margins = max(-top, 0), max(bottom - height, 0), max(-left, 0), max(right - width, 0)
    if side * side > MAX_PADDED * inside.size:
        return _padded_small(inside, margins, size=size, side=side)
    square = cv2.copyMakeBorder(inside, *margins, cv2.BORDER_REPLICATE)
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    resized = cv2.resize(square, (size, size), interpolation=interpolation)
    return np.asarray(resized, dtype=np.uint8)


def _padded_small(
    inside: NDArray[np.uint8], margins: tuple[int, int, int, int], *, size: int, side: int
) -> NDArray[np.uint8]:
    """Shrink the part inside the image, then pad it. The crop is the same to within a pixel. For a
    strip that is a few pixels wide, a padded square of full size would need too much memory."""
    height, width = (max(1, round(length * size / side)) for length in inside.shape)
    small = cv2.resize(inside, (width, height), interpolation=cv2.INTER_AREA)
    top, left = (min(round(margins[index] * size / side), size - 1) for index in (0, 2))
    top, left = min(top, size - height), min(left, size - width)
    padded = cv2.copyMakeBorder(
        small, top, size - height - top, left, size - width - left, cv2.BORDER_REPLICATE
    )
    return np.asarray(padded, dtype=np.uint8)
