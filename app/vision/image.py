"""The one reader, cropper and resizer of pictures, shared by serving and training.

Pillow reads the files, because it knows the size before it decodes and says when a file is cut
short, where OpenCV would return a picture that is grey from the cut on.
"""

import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from app.errors import ImageTooLarge, NoImage, UndecodableImage, UnsupportedImageType
from app.vision.structure import FrugalFile, check_jpeg, check_tiff, check_webp, exif_orientation
from app.vision.types import Box

IMAGE_TYPES = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"MM\x00+": "TIFF",
}

# How to turn a picture upright, by its EXIF orientation.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = (5, 6, 7, 8)  # orientations that swap width and height
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')

# Compressed texts beside the pixels, which nobody reads here, take little memory.
PngImagePlugin.MAX_TEXT_MEMORY = 4 * PngImagePlugin.MAX_TEXT_CHUNK
# Its remarks on damaged files hold numbers of theirs, and Python keeps each text that it has warned
# of for ever. What matters of the damage is raised.
warnings.filterwarnings("ignore", module=r"PIL\.")

_CHECKS = {"JPEG": check_jpeg, "TIFF": check_tiff, "WEBP": check_webp}
_STRIP = 256  # rows
_PNG_SIZE = slice(16, 24)  # width and height, big-endian, in the first chunk of every PNG

# What Pillow's readers raise on bytes that are no whole picture (they have no common base).
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    ArithmeticError,
    NotImplementedError,
    struct.error,
    zlib.error,
)


def image_type(data: bytes) -> str:
    """The served type whose signature `data` starts with: names and headers of a client lie.

    Raises NoImage for no bytes, UnsupportedImageType for any other content.
    """
    if not data:
        raise NoImage("the picture is empty (0 bytes)")
    for signature, name in _SIGNATURES.items():
        if data.startswith(signature):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    raise UnsupportedImageType(
        f"the content is not a picture of a served type ({', '.join(IMAGE_TYPES)})"
    )


@dataclass(frozen=True, slots=True)
class Raster:
    """The pixels of an upright picture, perhaps fewer than its file has.

    `gray` (height, width) uint8 by the Rec. 601 weights; `size_wh` is the original's, and `scale`
    the number of pixels here for one of the original's, at most 1. `colors` is `bgr`, or None where
    nobody asked for it.
    """

    gray: NDArray[np.uint8]
    size_wh: tuple[int, int]
    scale: float = 1.0
    colors: NDArray[np.uint8] | None = None

    @property
    def bgr(self) -> NDArray[np.uint8]:
        """(height, width, 3) uint8. Raises ValueError where the colours were not read."""
        if self.colors is None:
            raise ValueError("the picture was read without its colours")
        return self.colors


class ImageFile:
    """A picture file whose type and size are known and whose pixels have not been read yet.

    Raises NoImage, UnsupportedImageType, ImageTooLarge or, for a header that makes no sense,
    UndecodableImage.
    """

    def __init__(self, data: bytes, *, max_pixels: int) -> None:
        self._kind = image_type(data)
        if self._kind == "PNG" and len(data) >= _PNG_SIZE.stop:
            # Pillow would look for pixels first; a header alone says enough.
            width, height = struct.unpack(">II", data[_PNG_SIZE])
            _check_size(width, height, max_pixels)
        with _refusals(self._kind, max_pixels):
            if self._kind in _CHECKS:
                _CHECKS[self._kind](data)
            self._image = Image.open(FrugalFile(data), formats=[self._kind])
            _check_size(*self._image.size, max_pixels)
        self._max_pixels = max_pixels
        self.longer_side = max(self._image.size)
        self.pixels = self._image.width * self._image.height

    def read(self, *, scale: float = 1.0, color: bool = False) -> Raster:
        """Read the pixels, which can be done once: of an animation the first frame, 16-bit
        channels scaled to 8, the EXIF orientation applied, transparent pixels laid on white.

        A JPEG is read at 1/2, 1/4 or 1/8 of its size where that is at least `scale`: it is
        cheaper, and so is leaving out its colours. Raises UndecodableImage (damaged, cut short, or
        pixels that are not 8 or 16 bit).
        """
        with _refusals(self._kind, self._max_pixels), self._image as image:
            width, height = image.size
            least = (max(1, int(width * scale)), max(1, int(height * scale)))
            drafted = image.draft(None if color else "L", least)
            made = drafted[1][2] / width if drafted else 1.0
            image.load()
            orientation = _orientation(image)
            upright = image.transpose(_UPRIGHT[orientation]) if orientation > 1 else image
            if orientation in _ON_ITS_SIDE:
                width, height = height, width
            gray, colors = _arrays(upright, color=color)
        return Raster(gray, (width, height), made, colors)


@contextmanager
def _refusals(kind: str, max_pixels: int) -> Iterator[None]:
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"the picture has more than {max_pixels:,} pixels") from error
    except _DECODE_ERRORS as error:
        raise UndecodableImage(f"the {kind} picture is damaged or cut short") from error


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"the picture has {width}x{height} pixels, more than the {max_pixels:,} allowed"
        )


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of a picture that has been read, by its EXIF or else its XMP; 1,
    upright, where it says none. Pillow turns a TIFF by itself.

    Not by Pillow's own reader, which reads every tag there is, and writes them all again.
    """
    info = image.info
    if image.format == "TIFF":
        return 1
    exif = info.get("exif") or _hexadecimal(info.get("Raw profile type exif", ""))
    xmp = info.get("XML:com.adobe.xmp") or info.get("xmp") or b""
    if (orientation := exif_orientation(exif)) is not None:
        return orientation
    found = _XMP_ORIENTATION.search(xmp.encode() if isinstance(xmp, str) else xmp)
    return int(found[1]) if found else 1


def _hexadecimal(text: str) -> bytes:
    """The EXIF that older ImageMagick wrote as text into a PNG: three lines, then hexadecimals."""
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return b""


def _arrays(
    image: Image.Image, *, color: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """(gray, bgr) of an upright picture of any mode; None for bgr without `color`."""
    if image.mode == "L" and not image.has_transparency_data:
        gray = np.array(image)
        return gray, _as_array(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)) if color else None
    rgb = _rgb_array(image)
    bgr = _as_array(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)) if color else None
    return _as_array(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)), bgr


def _as_array(image: cv2.typing.MatLike) -> NDArray[np.uint8]:
    """For the type checker: OpenCV's stubs do not say that pixels of 8 bits stay so."""
    return np.asarray(image, dtype=np.uint8)


def _rgb_array(image: Image.Image) -> NDArray[np.uint8]:
    """(height, width, 3). Made strip by strip where it takes several steps, whose results would
    each be as large as the picture."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no stated range")
    if image.mode == "RGB" and not image.has_transparency_data:
        return np.asarray(image)
    width, height = image.size
    rgb = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        rgb[top:bottom] = _rgb_strip(image.crop((0, top, width, bottom)))
    return rgb


def _rgb_strip(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        values = np.asarray(image, dtype=np.int64)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError("grey values outside 16 bit")
        # 65535 / 255 = 257 exactly, so black stays black and white becomes 255.
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


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
    return _as_array(cv2.resize(image, size_wh, interpolation=interpolation))


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
    outside the picture repeats its edge. Shrinks by area (no aliasing), enlarges linearly.

    Raises ValueError when no part of the square lies in the picture.
    """
    height, width = image_gray.shape
    side = max(1, round(max(box.width, box.height) * scale))
    left = round((box.x1 + box.x2 - side) / 2)
    top = round((box.y1 + box.y2 - side) / 2)
    right, bottom = left + side, top + side
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        raise ValueError(f"box {box.xyxy} lies outside the {width}x{height} picture")
    inside = image_gray[max(top, 0) : bottom, max(left, 0) : right]
    square = cv2.copyMakeBorder(
        inside,
        max(-top, 0),
        max(bottom - height, 0),
        max(-left, 0),
        max(right - width, 0),
        cv2.BORDER_REPLICATE,
    )
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    resized = cv2.resize(square, (size, size), interpolation=interpolation)
    return np.asarray(resized, dtype=np.uint8)
