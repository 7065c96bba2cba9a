"""Functions that build parts of the files of this package."""

import io
import struct
import zlib
from functools import cache
from typing import Any

from PIL import Image

from app.settings import Settings
from testbed.image_writers import png_chunk, tiff

LIMIT_BYTES = Settings().max_image_bytes
END = png_chunk(b"IEND", b"")


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The file of an image, written by Pillow."""
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


@cache
def deflated_zeros(count: int) -> bytes:
    """`count` zero bytes, deflated."""
    compressor = zlib.compressobj(1)
    return (
        b"".join(compressor.compress(bytes(count // 100)) for _ in range(100)) + compressor.flush()
    )


def filled(head: bytes, piece: bytes, tail: bytes = b"") -> bytes:
    """Repeat `piece` up to the maximum size of an upload."""
    return head + piece * ((LIMIT_BYTES - len(head) - len(tail)) // len(piece)) + tail


def gif_frame(width: int, height: int) -> bytes:
    """A GIF frame of this size with the pixels of 1x1."""
    return b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00;"


def gray_tiff(
    width: int, height: int, *entries: tuple[int, int, int, int], data: bytes = b""
) -> bytes:
    """A grey TIFF file with 8 bits. `entries` have the positions of the pixels."""
    defaults = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, 8),
        259: (3, 1, 1),
        262: (3, 1, 1),
    }
    defaults |= {tag: (kind, count, value) for tag, kind, count, value in entries}
    return tiff([(tag, *rest) for tag, rest in defaults.items()], data or bytes(8))
