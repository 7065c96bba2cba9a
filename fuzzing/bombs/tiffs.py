"""TIFF files whose directories and tables cost much."""

import struct

from fuzzing.bombs.files import (
    LIMIT_BYTES,
    deflated_zeros,
    gray_tiff,
)


def tiff_huge_tile(compression: int) -> bytes:
    """100x100 pixels in a tile that says 30,000x30,000, and holds them in 4 MB."""
    pixels = deflated_zeros(900_000_000)
    where = ((322, 4, 1, 30_000), (323, 4, 1, 30_000), (324, 4, 1, 8), (325, 4, 1, len(pixels)))
    return gray_tiff(100, 100, (259, 3, 1, compression), *where, data=pixels)


def tiff_huge_strip() -> bytes:
    """The same in a strip of 9,000,000 rows."""
    pixels = deflated_zeros(900_000_000)
    where = ((278, 4, 1, 9_000_000), (273, 4, 1, 8), (279, 4, 1, len(pixels)))
    return gray_tiff(100, 100, (259, 3, 1, 8), *where, data=pixels)


def tiff_strips(count: int, compression: int, *, there: bool) -> bytes:
    """So many strips, a row each, whether their places are in the file or not."""
    data = struct.pack("<I", 8) * count if there else bytes(8)
    where = ((278, 4, 1, 1), (273, 4, count, 8), (279, 4, count, 8))
    return gray_tiff(100, 100, (259, 3, 1, compression), *where, data=data)


def tiff_overlapping_tags() -> bytes:
    """Thousands of tags, each of which says that its value is most of the file."""
    data = bytes(LIMIT_BYTES - 200_000)
    tags = [(tag, 1, len(data), 8) for tag in range(1000, 13_000)]
    return gray_tiff(100, 100, (273, 4, 1, 8), (279, 4, 1, 10_000), *tags, data=data)


def tiff_many_tags() -> bytes:
    tags = [(tag, 4, 1, 8) for tag in range(1000, 65_000)]
    return gray_tiff(100, 100, (273, 4, 1, 8), (279, 4, 1, 10_000), *tags, data=bytes(10_000))


def tiff_pages() -> bytes:
    """Directories of one tag each, one behind the other."""
    first = gray_tiff(8, 8, (273, 4, 1, 8), (279, 4, 1, 64), data=bytes(64))
    page = struct.pack("<HHHII", 1, 256, 4, 1, 8)
    count = (LIMIT_BYTES - len(first)) // 18
    links = (struct.pack("<I", len(first) + 18 * (number + 1)) for number in range(count))
    return first[:-4] + struct.pack("<I", len(first)) + b"".join(page + link for link in links)


def tiff_exif_numbers() -> bytes:
    """An orientation, and an EXIF directory of three million numbers."""
    numbers = struct.pack("<HHHIII", 1, 37396, 4, 3_500_000, 8, 0)
    data = bytes(14_000_000) + numbers
    where = ((273, 4, 1, 8), (279, 4, 1, 10_000), (274, 3, 1, 6), (34665, 4, 1, 14_000_008))
    return gray_tiff(100, 100, *where, data=data)


def tiff_fax() -> bytes:
    """A fax of millions of rows, each of them wrong and each remarked upon."""
    where = ((273, 4, 1, 8), (279, 4, 1, 1_000_000), (278, 4, 1, 50_000_000))
    data = bytes(range(1, 256)) * 4000
    return gray_tiff(1, 50_000_000, (258, 3, 1, 1), (259, 3, 1, 4), *where, data=data)
