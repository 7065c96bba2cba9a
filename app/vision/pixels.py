"""Converts images that Pillow has decoded into arrays of 8-bit grey and BGR pixels."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from app.errors import UnsupportedImageType

_STRIP = 256  # rows
_TIFF_BITS, _TIFF_PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0


def as_uint8(image: cv2.typing.MatLike) -> NDArray[np.uint8]:
    """Cast the result of an OpenCV function for the type checker: the stubs give no dtype."""
    return np.asarray(image, dtype=np.uint8)


def limit_pixels(image: Image.Image, kind: str, max_output_pixels: int) -> Image.Image:
    """Reduce a decoded image to at most `max_output_pixels`.

    Call it before other conversions, because each of them copies the image. `kind` is the type of
    the file. Raises UnsupportedImageType.
    """
    factor = math.sqrt(max_output_pixels / (image.width * image.height))
    if factor >= 1:
        return image
    if image.mode != "RGB" or image.has_transparency_data:
        image = Image.fromarray(_rgb_array(image, kind))
    size_wh = max(1, int(image.width * factor)), max(1, int(image.height * factor))
    return image.resize(size_wh, Image.Resampling.BOX)


def gray_and_bgr(
    image: Image.Image, kind: str, *, color: bool
) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Convert a decoded image of any mode to (gray, bgr): (height, width) and (height, width, 3)
    uint8. `bgr` is None if `color` is not set. `kind` is the type of the file.

    Scales deeper channels to 8 bits and puts transparent pixels on white. Raises
    UnsupportedImageType for CIELAB.
    """
    if image.mode == "L" and not image.has_transparency_data:
        gray = np.array(image)
        return gray, as_uint8(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)) if color else None
    rgb = _rgb_array(image, kind)
    bgr = as_uint8(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)) if color else None
    return as_uint8(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)), bgr


def _rgb_array(image: Image.Image, kind: str) -> NDArray[np.uint8]:
    """Return RGB pixels (height, width, 3). Conversions of several steps work strip by strip,
    because the result of each step would be as large as the image."""
    if image.mode == "LAB":
        raise UnsupportedImageType(
            f"the {kind} image has the colour space CIELAB, which is not supported"
        )
    if kind == "BMP" and _is_transparent(image):
        # Programs that write the newer BMP headers often leave the alpha channel zero. Browsers
        # ignore the alpha channel of such a file.
        image = image.convert("RGB")
    if image.mode == "RGB" and not image.has_transparency_data:
        return np.asarray(image)
    bits, inverted = _depth(image)
    width, height = image.size
    rgb = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        strip = image.crop((0, top, width, bottom))
        if image.mode.startswith("I"):
            rgb[top:bottom] = _deep_gray(strip, bits, inverted=inverted)[..., None]
        else:
            rgb[top:bottom] = _rgb_strip(strip)
    return rgb


def _is_transparent(image: Image.Image) -> bool:
    return image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)


def _depth(image: Image.Image) -> tuple[int, bool]:
    """Return (bits of a grey value, whether 0 is white). Pillow ignores both properties in grey
    TIFFs of more than 8 bits."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 16, False
    tags = image.tag_v2
    (bits, *_) = tags.get(_TIFF_BITS, (16,))
    return bits, tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO


def _deep_gray(image: Image.Image, bits: int, *, inverted: bool) -> NDArray[np.uint8]:
    """Convert grey pixels of 9 to 16 bits to 8 bits. Transparent pixels become white."""
    values = np.asarray(image, dtype=np.int64)
    max_value = 2**bits - 1
    key = image.info.get("transparency")  # in a PNG, pixels with this grey value are transparent
    transparent = values == key if isinstance(key, int) else None
    if inverted:
        values = max_value - values
    # Rounds to the nearest value: 0 stays 0, and the largest value becomes 255.
    gray: NDArray[np.uint8] = ((values * 255 + max_value // 2) // max_value).astype(np.uint8)
    if transparent is not None:
        gray[transparent] = 255
    return gray


def _rgb_strip(image: Image.Image) -> NDArray[np.uint8]:
    if image.has_transparency_data:
        if image.mode == "La":  # premultiplied grey, which Pillow converts to LA only
            image = image.convert("LA")
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))
