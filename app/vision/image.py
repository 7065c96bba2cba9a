"""The one decode, EXIF, grey, crop and resize of the project, shared by serving and training.

Pillow reads the files, because it knows the size before it decodes and says when a file is cut
short, where OpenCV would return a picture that is grey from the cut on.
"""

import io
import struct
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from app.errors import ImageTooLarge, NoImage, UndecodableImage, UnsupportedImageType
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


def decode(data: bytes, *, max_pixels: int) -> NDArray[np.uint8]:
    """Read a picture as upright `image_bgr`: (height, width, 3) uint8.

    Takes the first frame of an animation, scales 16-bit channels to 8, applies the EXIF
    orientation, and lays transparent pixels on white.

    Raises NoImage, UnsupportedImageType, ImageTooLarge (judged from the header, before any pixel
    is decoded) or UndecodableImage (damaged, cut short, or pixels that are not 8 or 16 bit).
    """
    kind = image_type(data)
    if kind == "PNG" and len(data) >= _PNG_SIZE.stop:
        # Pillow would look for pixels first; a header alone says enough.
        width, height = struct.unpack(">II", data[_PNG_SIZE])
        _check_size(width, height, max_pixels)
    try:
        with Image.open(io.BytesIO(data), formats=[kind]) as image:
            _check_size(image.width, image.height, max_pixels)
            upright = ImageOps.exif_transpose(image)
            image_bgr = cv2.cvtColor(_rgb_array(upright), cv2.COLOR_RGB2BGR)
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"the picture has more than {max_pixels:,} pixels") from error
    except _DECODE_ERRORS as error:
        raise UndecodableImage(f"the {kind} picture is damaged or cut short") from error
    return np.asarray(image_bgr, dtype=np.uint8)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"the picture has {width}x{height} pixels, more than the {max_pixels:,} allowed"
        )


def _rgb_array(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        values = np.asarray(image, dtype=np.int64)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError("grey values outside 16 bit")
        # 65535 / 255 = 257 exactly, so black stays black and white becomes 255.
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels have no stated range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def to_gray(image_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(height, width, 3) BGR to (height, width) grey, uint8, by the Rec. 601 weights."""
    return np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), dtype=np.uint8)


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
