"""Turn what a caller passes as an image into a file name and the bytes of an image file."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from emotions.errors import NotAnImage, UnreadablePicture

if TYPE_CHECKING:
    import numpy
    import PIL.Image

    Picture = (
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
    Picture = Any

# Of the files that the service reads: JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC/HEIF and AVIF.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
    | {".heic", ".heif", ".hif", ".avif"}
)
UNNAMED = "picture"
_UNSTORABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202d\u202e\\\\]")


def read_picture(picture: "Picture") -> tuple[str, bytes]:
    """Return the file name and the bytes of an image.

    Files (a path, bytes, an open binary file) are passed on unchanged. Pixels (a PIL image or an
    array) are encoded by emotions.pixels. Raises UnreadablePicture; NotAnImage, which is
    also a TypeError, for an object that is not an image.
    """
    if isinstance(picture, str | os.PathLike):
        return _read_path(picture)
    if isinstance(picture, memoryview) and picture.ndim != 1:
        return _encode(picture)
    if isinstance(picture, bytes | bytearray | memoryview):
        return UNNAMED, bytes(picture)
    if hasattr(picture, "read"):
        return _read_file(picture)
    return _encode(picture)


def sendable_name(path: str | os.PathLike[str]) -> str:
    """Return the last part of a path as the service will store it. Bytes that are not text become
    U+FFFD: a file system may hold such names."""
    return storable_name(Path(path).name)


def storable_name(name: str) -> str:
    """Return the name as the service stores it, which is also how its filters find it.

    The service stores U+FFFD for control characters and others that displays do not handle safely
    (see app/api/file_names.py). The client also sends it for a backslash: the service takes that
    for a separator of folders, as on Windows, and would store only the text after it.
    """
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", name)


def _read_path(path: str | os.PathLike[str]) -> tuple[str, bytes]:
    try:
        return sendable_name(path), Path(path).read_bytes()
    except (OSError, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadablePicture(f"{os.fspath(path)!s}: {reason}") from error


def _read_file(file: Any) -> tuple[str, bytes]:
    try:
        data = file.read()
    except Exception as error:  # archives, sockets and pipes all raise their own kinds
        raise UnreadablePicture(f"the file cannot be read: {error}") from error
    if not isinstance(data, bytes | bytearray | memoryview):
        raise NotAnImage("the file returns no bytes: open it in binary mode, open(path, 'rb')")
    name = getattr(file, "name", None)
    return sendable_name(name) if isinstance(name, str) else UNNAMED, bytes(data)


def _encode(picture: Any) -> tuple[str, bytes]:
    try:
        from emotions.pixels import encode  # noqa: PLC0415 - callers that send files need no Pillow
    except ImportError as error:
        raise NotAnImage(
            f"a {type(picture).__name__} can only be sent with Pillow and NumPy: "
            "pip install 'emotions-client[images]'"
        ) from error
    suffix, data = encode(picture)
    return UNNAMED + suffix, data
