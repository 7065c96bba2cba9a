"""Writes valid and invalid BMP, TIFF and PNG files that Pillow cannot write."""

import struct
import zlib

import numpy as np
from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"


def run_length_bmp(codes: bytes, width: int = 16, height: int = 16) -> bytes:
    """An 8-bit BMP file with run-length encoding."""
    colors = b"".join(bytes([level, level, level, 0]) for level in range(256))
    start = 54 + len(colors)
    head = struct.pack("<2sIII", b"BM", start + len(codes), 0, start)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(codes), 2835, 2835, 256, 256)
    return head + info + colors + codes


def tiff(entries: list[tuple[int, int, int, int]], data: bytes = b"") -> bytes:
    """A little-endian TIFF file with `data` at byte 8 and one directory.

    An entry is (tag, type, count, value or offset).
    """
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4)


def tiled_tiff(image: Image.Image, side: int = 16) -> bytes:
    """A tiled TIFF file of a colour image whose width and height are multiples of `side`."""
    pixels = np.asarray(image)
    tiles = [
        zlib.compress(np.ascontiguousarray(pixels[y : y + side, x : x + side]).tobytes())
        for y in range(0, image.height, side)
        for x in range(0, image.width, side)
    ]
    body, offsets = struct.pack("<3H", 8, 8, 8) + bytes(2), []
    for tile in tiles:
        offsets.append(8 + len(body))
        body += tile + bytes(len(tile) % 2)
    where = 8 + len(body)
    body += struct.pack(f"<{len(tiles)}I", *offsets)
    body += struct.pack(f"<{len(tiles)}I", *map(len, tiles))
    return tiff(
        [
            (256, 4, 1, image.width),
            (257, 4, 1, image.height),
            (258, 3, 3, 8),
            (259, 3, 1, 8),
            (262, 3, 1, 2),
            (277, 3, 1, 3),
            (322, 4, 1, side),
            (323, 4, 1, side),
            (324, 4, len(tiles), where),
            (325, 4, len(tiles), where + 4 * len(tiles)),
        ],
        body,
    )


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, rest: bytes, *, bits: int = 8, color: int = 2) -> bytes:
    """A PNG file with a header, followed by `rest`."""
    return (
        PNG_START
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
        + rest
    )
