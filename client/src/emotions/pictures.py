"""Anything that is a picture, as the bytes of a file with a name."""

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from emotions.errors import UnreadablePicture

if TYPE_CHECKING:
    import numpy
    import PIL.Image

    Picture = str | os.PathLike[str] | bytes | BinaryIO | PIL.Image.Image | numpy.ndarray[Any, Any]
else:
    Picture = Any

NAMELESS = "picture"


def read_picture(picture: "Picture") -> tuple[str, bytes]:
    """The name and the bytes of a picture.

    `picture` is a path, the bytes of a file, an open binary file, a PIL.Image, or a numpy array:
    (height, width) grey or (height, width, 3) in the order of Pillow, red first, uint8. What is in
    memory becomes a PNG, without loss. Raises UnreadablePicture, and TypeError for anything else.
    """
    if isinstance(picture, str | os.PathLike):
        path = Path(picture)
        try:
            return path.name, path.read_bytes()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UnreadablePicture(f"{path}: {reason}") from error
    if isinstance(picture, bytes | bytearray | memoryview):
        return NAMELESS, bytes(picture)
    if hasattr(picture, "read"):
        name = getattr(picture, "name", None)
        try:
            data = picture.read()
        except (OSError, ValueError) as error:
            raise UnreadablePicture(f"the file cannot be read: {error}") from error
        if not isinstance(data, bytes):
            raise TypeError("open the picture as binary: open(path, 'rb')")
        return Path(name).name if isinstance(name, str) else NAMELESS, data
    return NAMELESS + ".png", _png(picture)


def _png(picture: Any) -> bytes:
    # Not at the top: who sends files needs neither.
    try:
        import PIL.Image  # noqa: PLC0415
    except ImportError as error:
        raise TypeError("pictures in memory need Pillow: emotions-client[images]") from error

    if not isinstance(picture, PIL.Image.Image):
        if not hasattr(picture, "__array_interface__"):
            raise TypeError(f"{type(picture).__name__} is no picture")
        try:
            picture = PIL.Image.fromarray(picture)
        except (TypeError, ValueError) as error:
            raise UnreadablePicture(f"the array is no picture: {error}") from error
    file = io.BytesIO()
    try:
        picture.save(file, "PNG")
    except (OSError, ValueError) as error:
        raise UnreadablePicture(f"the image cannot be written as PNG: {error}") from error
    return file.getvalue()
