"""Converts the images that callers pass to file names and bytes of image files."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from emotions.errors import NotAnImage, UnreadableImage

if TYPE_CHECKING:
    import numpy
    import PIL.Image

    ImageSource = (
        str
        | os.PathLike[str]
        | bytes
        | bytearray
        | memoryview
        | BinaryIO
        | PIL.Image.Image
        | numpy.ndarray[Any, Any]
    )
else:
    ImageSource = Any

# Suffixes of the supported formats: JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC/HEIF and AVIF.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
    | {".heic", ".heif", ".hif", ".avif"}
)
UNNAMED = "picture"  # name of images without a file name; stored results have it
_UNSTORABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202d\u202e\\\\]")


def read_image(image: "ImageSource") -> tuple[str, bytes]:
    """Return the file name and the bytes of an image.

    Files (a path, bytes, an open binary file) are returned unchanged. Pixels (a PIL image or an
    array) are encoded by emotions.pixels. Raises UnreadableImage if the image cannot be read, and
    NotAnImage (also a TypeError) for other objects.
    """
    if isinstance(image, str | os.PathLike):
        return _read_path(image)
    if isinstance(image, memoryview) and image.ndim != 1:
        return _encode(image)
    if isinstance(image, bytes | bytearray | memoryview):
        return UNNAMED, bytes(image)
    if hasattr(image, "read"):
        return _read_file(image)
    return _encode(image)


def sendable_name(path: str | os.PathLike[str]) -> str:
    """Return the last part of a path as a file name that a request can contain, in the form that
    the service stores. Bytes of the name that are not valid text become U+FFFD."""
    return storable_name(Path(path).name)


def storable_name(name: str) -> str:
    """Return the name in the form that the service stores and that the filter `file_name` matches.

    The service stores U+FFFD for control characters and others that displays do not handle safely
    (see app/api/file_names.py). The client also replaces backslashes: the service treats them as
    folder separators, as on Windows, and would store only the text after the last one.
    """
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", name)


def _read_path(path: str | os.PathLike[str]) -> tuple[str, bytes]:
    try:
        return sendable_name(path), Path(path).read_bytes()
    except (OSError, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableImage(f"{os.fspath(path)!s}: {reason}") from error


def _read_file(file: Any) -> tuple[str, bytes]:
    try:
        data = file.read()
    except Exception as error:  # file-like objects may raise any exception
        raise UnreadableImage(f"the file cannot be read: {error}") from error
    if not isinstance(data, bytes | bytearray | memoryview):
        raise NotAnImage("the file does not return bytes: open it with open(path, 'rb')")
    name = getattr(file, "name", None)
    return sendable_name(name) if isinstance(name, str) else UNNAMED, bytes(data)


def _encode(image: Any) -> tuple[str, bytes]:
    try:
        from emotions.pixels import encode  # noqa: PLC0415 - Pillow is an optional dependency
    except ImportError as error:
        raise NotAnImage(
            f"a {type(image).__name__} can only be sent with Pillow and NumPy: "
            "pip install 'emotions-client[images]'"
        ) from error
    suffix, data = encode(image)
    return UNNAMED + suffix, data
