"""What the bombs are made of."""

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
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


@cache
def deflated_zeros(count: int) -> bytes:
    """So many of them, deflated."""
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(count // 100)) for _ in range(100)) + packer.flush()


def filled(head: bytes, piece: bytes, tail: bytes = b"") -> bytes:
    """As many pieces as a picture may have bytes."""
    return head + piece * ((LIMIT_BYTES - len(head) - len(tail)) // len(piece)) + tail


def gif_frame(width: int, height: int) -> bytes:
    """With pixels for 1x1."""
    return b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\x00;"


def gray_tiff(
    width: int, height: int, *entries: tuple[int, int, int, int], data: bytes = b""
) -> bytes:
    """Grey, 8 bits; `entries` say where its pixels are."""
    usual = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, 8),
        259: (3, 1, 1),
        262: (3, 1, 1),
    }
    usual |= {tag: (kind, count, value) for tag, kind, count, value in entries}
    return tiff([(tag, *rest) for tag, rest in usual.items()], data or bytes(8))
