"""Encodes PIL images and arrays as image files from which the service reads the same pixels.

A PIL image is turned upright, reduced to 8-bit grey, RGB or RGBA, and written as PNG. An array is
converted to such a PIL image first. Needs Pillow and NumPy.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from emotions.errors import NotAnImage, UnreadablePicture

MAX_PIXELS = 178_000_000  # the largest value of the service's EMOTION_MAX_PIXELS
# The service's default EMOTION_MAX_IMAGE_BYTES. The PNG of a large photograph may exceed it
# although its original file does not.
MAX_PNG_BYTES = 15_000_000
JPEG_QUALITY = 95
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # by number of channels
_MAX_8_BIT, _MAX_16_BIT = 255, 65_535
# How far the rounding of resampled floats may exceed the range.
ROUNDING = 1e-3
_OVERSHOOT = 2.0  # floats in (1, 2] are a 0..1 image with overshoot, not a 0..255 image


def encode(picture: Any) -> tuple[str, bytes]:
    """Return the file suffix and the bytes of a PIL image or array.

    PIL images: the current frame, turned as its EXIF orientation says. Arrays: (height, width),
    (height, width, channels) or (channels, height, width) with 1 (grey), 2 (grey and alpha), 3
    (RGB) or 4 (RGBA) channels, as bool, integers in 0..255, uint16 in 0..65535 (in 0..255 where no
    value is larger), or floats in 0..1 or 0..255, clipped where they exceed the range by 0.001 at
    most. PNG; above 15 MB, JPEG of quality 95.

    Raises UnreadablePicture where the pixels cannot be read or have no clear meaning, and
    NotAnImage for other objects.
    """
    if isinstance(picture, Image.Image):
        image = _normalised(picture)
    else:
        image = _image_from(_array_of(picture), "the array")
    return _encoded(image)


# ---------------------------------------------------------------- PIL images


def _normalised(image: Image.Image) -> Image.Image:
    _check_size(*image.size)
    try:
        image.load()
        return _upright(image, _as_8_bit(image))
    except UnreadablePicture:
        raise
    except Exception as error:  # Pillow's readers and converters have no common exception
        raise UnreadablePicture(f"the image cannot be read: {error}") from error


def _upright(original: Image.Image, converted: Image.Image) -> Image.Image:
    try:
        orientation = original.getexif().get(ExifTags.Base.Orientation, 1)
        method = _UPRIGHT.get(orientation)
    except Exception:  # damaged EXIF: Pillow shows such an image as it is stored, and so do we
        method = None
    # Not ImageOps.exif_transpose: it writes all other tags again and fails where one is damaged.
    return converted if method is None else converted.transpose(method)


def _as_8_bit(image: Image.Image) -> Image.Image:
    """The image as L, RGB or RGBA."""
    if image.mode == "F" or image.mode.startswith("I"):
        # Pillow clips these modes to 0..255 where they should be scaled.
        return _image_from(
            np.asarray(image), f"the image of mode {image.mode}", is_16_bit=image.mode != "F"
        )
    if image.has_transparency_data:
        # Pillow converts premultiplied grey (La) to LA only.
        return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


# ---------------------------------------------------------------- arrays


def _array_of(picture: Any) -> NDArray[Any]:
    if isinstance(picture, list | tuple):
        raise NotAnImage(
            f"a {type(picture).__name__} is not an image: use numpy.array(...) for pixels, "
            "or analyse_many(...) for several images"
        )
    if not isinstance(picture, memoryview) and not any(
        hasattr(picture, name) for name in ("__array__", "__array_interface__")
    ):
        raise NotAnImage(
            f"a {type(picture).__name__} is not an image: pass a path, bytes, an open binary file, "
            "a PIL image or a NumPy array"
        )
    try:
        return np.asarray(picture)
    except Exception as error:  # foreign code, as of a tensor in the memory of a GPU
        raise UnreadablePicture(
            f"the {type(picture).__name__} cannot be read as a NumPy array: {error}"
        ) from error


def _image_from(array: NDArray[Any], what: str, *, is_16_bit: bool = False) -> Image.Image:
    """`is_16_bit`: whether integers above 255 are on a scale up to 65535 whatever their type."""
    pixels = _channels_last(array)
    height, width, channels = pixels.shape
    _check_size(width, height)
    pixels = np.ascontiguousarray(_to_uint8(pixels, what, is_16_bit=is_16_bit))
    mode = _MODES[channels]
    image = Image.frombuffer(mode, (width, height), pixels.tobytes(), "raw", mode, 0, 1)
    return image.convert("RGBA") if mode == "LA" else image


def _channels_last(array: NDArray[Any]) -> NDArray[Any]:
    """The array as (height, width, channels)."""
    if array.ndim == 2:
        return array[:, :, np.newaxis]
    if array.ndim == 3:
        if array.shape[2] in _MODES:
            return array
        if array.shape[0] in _MODES:  # as PyTorch orders them
            return array.transpose(1, 2, 0)
    if array.ndim == 4:
        raise UnreadablePicture(
            f"an array of shape {array.shape} holds several images: send each array[i] by itself"
        )
    raise UnreadablePicture(
        f"an array of shape {array.shape} is not an image: expected (height, width), "
        "(height, width, channels) or (channels, height, width) with 1 to 4 channels"
    )


def _to_uint8(pixels: NDArray[Any], what: str, *, is_16_bit: bool) -> NDArray[np.uint8]:
    kind = pixels.dtype.kind
    if pixels.dtype == np.uint8:
        return pixels
    if kind == "b":
        return np.where(pixels, np.uint8(_MAX_8_BIT), np.uint8(0))
    if kind == "f":
        return _floats_to_uint8(pixels, what)
    if kind in "iu":
        is_uint16 = kind == "u" and pixels.dtype.itemsize == 2
        return _integers_to_uint8(pixels, what, is_16_bit=is_16_bit or is_uint16)
    raise UnreadablePicture(
        f"{what} has the data type {pixels.dtype}: expected bool, integers or floats"
    )


def _floats_to_uint8(pixels: NDArray[Any], what: str) -> NDArray[np.uint8]:
    if not np.isfinite(pixels).all():
        raise UnreadablePicture(f"{what} contains NaN or infinite values")
    lowest, highest = float(pixels.min()), float(pixels.max())
    unit = 1 if highest <= 1 + ROUNDING else _MAX_8_BIT
    if lowest >= -ROUNDING and highest <= unit + ROUNDING:
        pixels = pixels.clip(0, unit)
        lowest, highest = max(0.0, lowest), min(float(unit), highest)
    if lowest < 0 or highest > _MAX_8_BIT or 1 < highest <= _OVERSHOOT:
        raise UnreadablePicture(
            f"{what} contains floats from {lowest:g} to {highest:g}: "
            "scale and clip them to 0 to 1 or to 0 to 255"
        )
    scale = _MAX_8_BIT // unit
    return np.rint(pixels.astype(np.float64) * scale).astype(np.uint8)


def _integers_to_uint8(pixels: NDArray[Any], what: str, *, is_16_bit: bool) -> NDArray[np.uint8]:
    lowest, highest = int(pixels.min()), int(pixels.max())
    largest = _MAX_16_BIT if is_16_bit else _MAX_8_BIT
    if lowest < 0 or highest > largest:
        raise UnreadablePicture(
            f"{what} contains integers from {lowest} to {highest}: expected 0 to {largest}"
            + ("" if is_16_bit else ", or uint16 for 16-bit pixels")
        )
    if highest <= _MAX_8_BIT:
        return pixels.astype(np.uint8)
    # 65535 / 255 is 257, so black stays black and white becomes 255, as in the service.
    return ((pixels.astype(np.int64) + 128) // 257).astype(np.uint8)


# ---------------------------------------------------------------- files


def _check_size(width: int, height: int) -> None:
    if not width or not height:
        raise UnreadablePicture(f"the image is empty: {width}x{height} pixels")
    if width * height > MAX_PIXELS:
        raise UnreadablePicture(
            f"the image has {width}x{height} pixels; a service accepts {MAX_PIXELS:,} at most"
        )


def _encoded(image: Image.Image) -> tuple[str, bytes]:
    # Without its metadata: the orientation has been applied, and the service reads nothing else.
    image.info = {}
    png = io.BytesIO()
    image.save(png, "PNG", compress_level=1)  # 4 times as fast as the default, 20 % larger
    if png.tell() <= MAX_PNG_BYTES:
        return ".png", png.getvalue()
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    jpeg = io.BytesIO()
    try:
        image.save(jpeg, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    except (OSError, ValueError):  # a side of more than 65,535 pixels
        return ".png", png.getvalue()
    return ".jpg", jpeg.getvalue()
