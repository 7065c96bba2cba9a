"""Small JPEG, PNG, GIF and BMP files that take long to decode, and files with many frames."""

import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from fuzzing.bombs.files import (
    LIMIT_BYTES,
    deflated_zeros,
    encoded,
    filled,
    gif_frame,
)
from testbed.image_writers import png_chunk, run_length_bmp, tiff


def _frames(count: int, side: int = 64) -> list[Image.Image]:
    values = np.random.default_rng(0).integers(0, 256, (count, side, side), np.uint8)
    return [Image.fromarray(value) for value in values]


def animation(kind: str, count: int = 1000, **options: Any) -> bytes:
    """A file with many frames of noise."""
    first, *rest = _frames(count)
    return encoded(first, kind, save_all=True, append_images=rest, **options)


def jpeg_scans(count: int, side: int = 7000) -> bytes:
    """A progressive JPEG with many scans. A scan without changes has few bytes, but is decoded for
    all pixels."""
    data = bytearray(encoded(Image.new("L", (64, 64)), "JPEG", progressive=True))
    at = data.index(b"\xff\xc2")
    data[at + 5 : at + 9] = struct.pack(">HH", side, side)
    scan = data.rindex(b"\xff\xda")
    return bytes(data[:scan]) + bytes(data[scan:-2]) * count + b"\xff\xd9"


def jpeg_comments() -> bytes:
    good = encoded(Image.new("L", (64, 64)), "JPEG")
    return filled(good[:2], b"\xff\xfe\0\x02", good[2:])


def jpeg_junk() -> bytes:
    good = encoded(Image.new("L", (64, 64)), "JPEG")
    return filled(good[:2] + b"\xff\xfe\0\2", b"\0", good[2:])


def jpeg_exif() -> bytes:
    """EXIF data of 15 MB in segments of 64 kB. Each tag claims half of the data."""
    good = encoded(Image.new("L", (64, 64)), "JPEG")
    size = LIMIT_BYTES - 200_000
    tags = [(tag, 1, size // 2, 8) for tag in range(1000, 6000)]
    block = tiff(tags, bytes(size - 65_000))
    parts = [block[at : at + 65_000] for at in range(0, len(block), 65_000)]
    segments = (
        b"\xff\xe1" + struct.pack(">H", 8 + len(part)) + b"Exif\0\0" + part for part in parts
    )
    return good[:2] + b"".join(segments) + good[2:]


def jpeg_exif_numbers() -> bytes:
    """EXIF data with an orientation and one tag of three million numbers."""
    good = encoded(Image.new("L", (64, 64)), "JPEG")
    size = LIMIT_BYTES - 400_000
    block = tiff([(0x0112, 3, 1, 6), (0x9C9B, 4, size // 4, 8)], bytes(size))
    parts = [block[at : at + 65_000] for at in range(0, len(block), 65_000)]
    segments = (
        b"\xff\xe1" + struct.pack(">H", 8 + len(part)) + b"Exif\0\0" + part for part in parts
    )
    return good[:2] + b"".join(segments) + good[2:]


def png_chunks() -> bytes:
    good = encoded(Image.new("L", (64, 64)), "PNG")
    return filled(good[:33], png_chunk(b"prVt", b""), good[33:])


def png_pixel_chunks() -> bytes:
    """Empty chunks of pixels."""
    good = encoded(Image.new("L", (64, 64)), "PNG")
    return filled(good[:33], png_chunk(b"IDAT", b""), good[33:])


def png_text(character: str = "a") -> bytes:
    """Compressed texts of one megabyte each. With an emoji, each character takes four bytes."""
    good = encoded(Image.new("L", (64, 64)), "PNG")
    text = (character + "a" * 1_000_000).encode()
    chunks = b"".join(
        png_chunk(b"iTXt", b"k%d\0\1\0\0\0" % number + zlib.compress(text)) for number in range(60)
    )
    return good[:33] + chunks + good[33:]


def png_profile() -> bytes:
    good = encoded(Image.new("L", (64, 64)), "PNG")
    return good[:33] + png_chunk(b"iCCP", b"p\0\0" + deflated_zeros(900_000_000)) + good[33:]


def gif_junk() -> bytes:
    return filled(b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0), b"\0", gif_frame(1, 1))


def gif_comments() -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0)
    return filled(head + b"!\xfe", b"\x01a", b"\0" + gif_frame(1, 1))


def gif_extensions() -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0)
    return filled(head, b"!\x01\x00", gif_frame(1, 1))


def bmp_runs() -> bytes:
    """A separate run for each pixel."""
    head = run_length_bmp(b"", 7000, 7000)
    return filled(head, b"\x01\x07")
