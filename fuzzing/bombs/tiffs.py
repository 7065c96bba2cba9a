"""TIFF files with expensive directories and tables."""

import struct

from fuzzing.bombs.files import (
    LIMIT_BYTES,
    deflated_zeros,
    gray_tiff,
)


def tiff_huge_tile(compression: int) -> bytes:
    """100x100 pixels in a tile of 30,000x30,000 pixels, compressed to 4 MB."""
    pixels = deflated_zeros(900_000_000)
    positions = ((322, 4, 1, 30_000), (323, 4, 1, 30_000), (324, 4, 1, 8), (325, 4, 1, len(pixels)))
    return gray_tiff(100, 100, (259, 3, 1, compression), *positions, data=pixels)


def tiff_huge_strip() -> bytes:
    """100x100 pixels in a strip of 9,000,000 rows."""
    pixels = deflated_zeros(900_000_000)
    positions = ((278, 4, 1, 9_000_000), (273, 4, 1, 8), (279, 4, 1, len(pixels)))
    return gray_tiff(100, 100, (259, 3, 1, 8), *positions, data=pixels)


def tiff_strips(count: int, compression: int, *, with_offsets: bool) -> bytes:
    """`count` strips with one row each. Without `with_offsets`, the file does not contain the table
    of their offsets."""
    data = struct.pack("<I", 8) * count if with_offsets else bytes(8)
    positions = ((278, 4, 1, 1), (273, 4, count, 8), (279, 4, count, 8))
    return gray_tiff(100, 100, (259, 3, 1, compression), *positions, data=data)


def tiff_overlapping_tags() -> bytes:
    """Thousands of tags. Each claims most of the file as the value."""
    data = bytes(LIMIT_BYTES - 200_000)
    tags = [(tag, 1, len(data), 8) for tag in range(1000, 13_000)]
    return gray_tiff(100, 100, (273, 4, 1, 8), (279, 4, 1, 10_000), *tags, data=data)


def tiff_many_tags() -> bytes:
    tags = [(tag, 4, 1, 8) for tag in range(1000, 65_000)]
    return gray_tiff(100, 100, (273, 4, 1, 8), (279, 4, 1, 10_000), *tags, data=bytes(10_000))


def tiff_pages() -> bytes:
    """A chain of directories with one tag each."""
    first = gray_tiff(8, 8, (273, 4, 1, 8), (279, 4, 1, 64), data=bytes(64))
    page = struct.pack("<HHHII", 1, 256, 4, 1, 8)
    count = (LIMIT_BYTES - len(first)) // 18
    links = (struct.pack("<I", len(first) + 18 * (number + 1)) for number in range(count))
    return first[:-4] + struct.pack("<I", len(first)) + b"".join(page + link for link in links)


def tiff_exif_numbers() -> bytes:
    """An orientation, and an EXIF directory of three million numbers."""
    numbers = struct.pack("<HHHIII", 1, 37396, 4, 3_500_000, 8, 0)
    data = bytes(14_000_000) + numbers
    positions = ((273, 4, 1, 8), (279, 4, 1, 10_000), (274, 3, 1, 6), (34665, 4, 1, 14_000_008))
    return gray_tiff(100, 100, *positions, data=data)


def tiff_fax() -> bytes:
    """A fax with millions of invalid rows, which cause a warning each."""
    positions = ((273, 4, 1, 8), (279, 4, 1, 1_000_000), (278, 4, 1, 50_000_000))
    data = bytes(range(1, 256)) * 4000
    return gray_tiff(1, 50_000_000, (258, 3, 1, 1), (259, 3, 1, 4), *positions, data=data)
