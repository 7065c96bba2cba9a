"""Checks the structure of a TIFF, and reads the directories of a TIFF."""

from typing import Literal

from app.errors import ImageTooLarge, UnsupportedImageType

MAX_TAGS = 1_000  # maximum number of tags
MAX_NUMBERS = 10_000  # maximum number of values of a tag; a tag has one per strip or tile
TILE_MARGIN = 1_024  # maximum number of pixels by which a tile may exceed the image

# The supported compressions. Fax compressions are not supported, because libtiff writes a log line
# for each wrong row, and a file can have millions of them.
TIFF_COMPRESSIONS = {
    1: "none",
    5: "LZW",
    7: "JPEG",
    8: "deflate",
    32946: "deflate",
    32773: "PackBits",
}
_OTHER_COMPRESSIONS = {
    2: "CCITT RLE",
    3: "CCITT Group 3",
    4: "CCITT Group 4",
    6: "old-style JPEG",
    34712: "JPEG 2000",
    34887: "LERC",
    34925: "LZMA",
    50000: "zstd",
    50001: "WebP",
    50002: "JPEG XL",
}

Order = Literal["little", "big"]

_BYTES_EACH = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_BYTES_EACH |= {13: 4, 16: 8, 17: 8, 18: 8}
_BYTE_TYPES = {1, 2, 7}  # Pillow keeps values of these types as bytes, others as Python numbers
_WIDTH, _HEIGHT, _COMPRESSION, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 259, 322, 323
_DIRECTORIES = {34665, 34853, 40965}  # EXIF, GPS and interoperability; Pillow reads them too


def check_tiff(data: bytes) -> None:
    """Limit the tags and strips of a TIFF.

    Raises ImageTooLarge for a tile that is much larger than the image, and UnsupportedImageType for
    a compression that is not supported.
    """
    order: Order = "little" if data[:2] == b"II" else "big"
    big = data[2:4] in (b"+\0", b"\0+")
    if big and order == "big":
        raise UnsupportedImageType("the image is a big-endian BigTIFF, which is not supported")
    first = data[8:16] if big else data[4:8]
    sizes: dict[int, int] = {_WIDTH: 0, _HEIGHT: 0}
    tags_left, pending, visited = MAX_TAGS, [int.from_bytes(first, order)], set[int]()
    while pending:
        directory = pending.pop()
        if directory in visited:
            continue
        visited.add(directory)
        entries = tiff_entries(data, directory, order, big=big, max_entries=tags_left)
        tags_left -= len(entries)
        for tag, field_type, count, value in entries:
            if field_type not in _BYTE_TYPES and count > MAX_NUMBERS:
                raise ValueError(f"tag {tag} has more than {MAX_NUMBERS:,} numbers")
            if tag in _DIRECTORIES:
                pending.append(value)
            if tag == _COMPRESSION and value not in TIFF_COMPRESSIONS:
                name = _OTHER_COMPRESSIONS.get(value, f"number {value}")
                raise UnsupportedImageType(
                    f"the TIFF image has the compression {name}, which is not supported; use one "
                    f"of {', '.join(dict.fromkeys(TIFF_COMPRESSIONS.values()))}"
                )
            # Decoders may use any value of a repeated tag, so check the largest.
            if tag in (_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT):
                sizes[tag] = max(value, sizes.get(tag, 0))
    tile = sizes.get(_TILE_WIDTH, 0), sizes.get(_TILE_HEIGHT, 0)
    size = sizes[_WIDTH], sizes[_HEIGHT]
    if any(
        tile_side > image_side + TILE_MARGIN
        for tile_side, image_side in zip(tile, size, strict=True)
    ):
        raise ImageTooLarge(
            f"the image of {size[0]}x{size[1]} pixels has tiles of {tile[0]}x{tile[1]} pixels"
        )


def tiff_entries(
    data: bytes, at: int, order: Order, *, big: bool, max_entries: int
) -> list[tuple[int, int, int, int]]:
    """Return (tag, type, count, first number or offset of the values) for each entry of the
    directory at the offset `at`. Skips truncated entries. Raises ValueError for more than
    `max_entries` entries."""
    wide, each = (8, 20) if big else (2, 12)
    count = int.from_bytes(data[at : at + wide], order)
    if count > max_entries:
        raise ValueError(f"more than {MAX_TAGS:,} tags")
    entries = []
    for number in range(count):
        start = at + wide + each * number
        entry = data[start : start + each]
        if len(entry) < each:
            break
        middle = 12 if big else 8
        tag, kind = (int.from_bytes(entry[byte : byte + 2], order) for byte in (0, 2))
        length = int.from_bytes(entry[4:middle], order)
        field = entry[middle:]
        if length == 1 and kind in _BYTES_EACH:
            field = field[: _BYTES_EACH[kind]]
        entries.append((tag, kind, length, int.from_bytes(field, order)))
    return entries
