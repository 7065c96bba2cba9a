"""What must hold of a file's structure before Pillow is let at it.

Pillow looks at sizes before it decodes. Some files are dear in other ways: a progressive JPEG of
50 kB may say to go over 50 megapixels five thousand times, and a TIFF of 15 MB may have millions of
strips, each an object in Python. What is refused here no camera and no program makes.

All of it raises ValueError, except where it says otherwise.
"""

import io
import re
import struct
from typing import Literal

from app.errors import ImageTooLarge

MOST_READS = 15_000
MOST_PIECES = 10_000  # segments of a JPEG, chunks of a WebP
MOST_SCANS = 50  # of a progressive JPEG; programs make about 10
MOST_EXIF_BYTES = 131_072  # of a JPEG; the standard allows half of it
MOST_TAGS = 1_000  # of a TIFF
MOST_NUMBERS = 10_000  # in one tag of a TIFF: it has one for each strip or tile
TILE_MARGIN = 1_024  # pixels by which a tile may reach beyond the picture

# None, LZW, JPEG, deflate (two numbers) and PackBits. Others are of faxes, archives and satellites;
# libtiff writes a line to the log for each wrong row of a fax, and of those there can be millions.
TIFF_COMPRESSIONS = {1, 5, 7, 8, 32946, 32773}


class FrugalFile(io.BytesIO):
    """A file in memory that can be read from so many times.

    Pillow's readers in Python take some bytes for each chunk, tag, comment or run of pixels, so
    this bounds how long they work whatever the file says: 15,000 reads are about 40 ms.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ValueError("the file has too many pieces")
        return super().read(size)


# ---------------------------------------------------------------- JPEG

# The next marker, past what is before it: pixels hold FF only before 00 or a restart (D0 to D7).
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_SCAN, _END, _EXIF = 0xDA, 0xD9, 0xE1
# With no meaning in a JPEG, and a length that readers do not agree upon.
_RESERVED = {0x01, 0xC8, 0xD8, *range(0xF0, 0xFE)}


def check_jpeg(data: bytes) -> None:
    """Few scans, few segments, and no more EXIF than there can be."""
    # Seldom are there so many bytes that look like scans: mostly the first one is the end of this.
    few_scans = data.count(b"\xff\xda") <= MOST_SCANS
    at, scans, segments, exif, junk = 2, 0, 0, 0, 0
    while found := _MARKER.search(data, at):
        if not scans:
            junk += found.start() - at
        marker, at = found[1][0], found.end()
        if marker == _END and scans:
            return
        (length,) = struct.unpack(">H", data[at : at + 2].ljust(2, b"\0"))
        if length < 2 or marker in _RESERVED:
            raise ValueError(f"a segment {marker:02X} of {length} bytes")
        segments += 1
        scans += marker == _SCAN
        if marker == _EXIF and data.startswith(b"Exif\0\0", at + 2):
            exif += length
        if scans > MOST_SCANS or exif > MOST_EXIF_BYTES or max(segments, junk) > MOST_PIECES:
            raise ValueError(f"{scans} scans, {segments} segments, {exif} bytes of EXIF")
        if scans and few_scans:
            return
        at += length


# ---------------------------------------------------------------- WebP


def check_webp(data: bytes) -> None:
    """Few chunks, of which each frame of an animation is one: all are looked at before the first
    is decoded."""
    at = 12
    for _ in range(MOST_PIECES):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
        if at >= len(data):
            return
    raise ValueError("too many chunks")


# ---------------------------------------------------------------- TIFF

Order = Literal["little", "big"]

_BYTES_EACH = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_BYTES_EACH |= {13: 4, 16: 8, 17: 8, 18: 8}
_TEXT = {1, 2, 7}  # types that stay bytes, where others become a number each
_WIDTH, _HEIGHT, _COMPRESSION, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 259, 322, 323
_DIRECTORIES = {34665, 34853, 40965}  # EXIF, GPS, interoperability: read along with a picture


def check_tiff(data: bytes) -> None:
    """Few tags and strips, tiles about as large as the picture, a compression that is served.

    Raises ValueError, or ImageTooLarge for a tile far larger than the picture.
    """
    order: Order = "little" if data[:2] == b"II" else "big"
    big = data[2:4] in (b"+\0", b"\0+")
    first = data[8:16] if big else data[4:8]
    sizes: dict[int, int] = {_WIDTH: 0, _HEIGHT: 0}
    left, todo, seen = MOST_TAGS, [int.from_bytes(first, order)], set[int]()
    while todo:
        directory = todo.pop()
        if directory in seen:
            continue
        seen.add(directory)
        entries = _entries(data, directory, order, big=big, most=left)
        left -= len(entries)
        for tag, kind, count, value in entries:
            if kind not in _TEXT and count > MOST_NUMBERS:
                raise ValueError(f"{count} numbers in the tag {tag}")
            if tag in _DIRECTORIES:
                todo.append(value)
            if tag == _COMPRESSION and value not in TIFF_COMPRESSIONS:
                raise ValueError(f"compression {value}")
            # Of a tag that comes twice, readers may take either.
            if tag in (_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT):
                sizes[tag] = max(value, sizes.get(tag, 0))
    tile = sizes.get(_TILE_WIDTH, 0), sizes.get(_TILE_HEIGHT, 0)
    picture = sizes[_WIDTH], sizes[_HEIGHT]
    if any(side > its + TILE_MARGIN for side, its in zip(tile, picture, strict=True)):
        raise ImageTooLarge(
            f"the picture of {picture[0]}x{picture[1]} pixels is in tiles of {tile[0]}x{tile[1]}"
        )


def _entries(
    data: bytes, at: int, order: Order, *, big: bool, most: int
) -> list[tuple[int, int, int, int]]:
    """(tag, type, count, its first number or where its values are) of a directory. Those that the
    file is too short for are left out."""
    wide, each = (8, 20) if big else (2, 12)
    count = int.from_bytes(data[at : at + wide], order)
    if count > most:
        raise ValueError("too many tags")
    found = []
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
        found.append((tag, kind, length, int.from_bytes(field, order)))
    return found


# ---------------------------------------------------------------- EXIF

_ORIENTATION = 0x0112


def exif_orientation(exif: bytes) -> int | None:
    """The orientation that an EXIF block gives, 1 to 8; None where it gives none that can be read.
    Nothing else of the block is looked at. Raises nothing."""
    block = exif.removeprefix(b"Exif\0\0")
    if block[:4] not in (b"II*\0", b"MM\0*"):
        return None
    order: Order = "little" if block[:2] == b"II" else "big"
    try:
        entries = _entries(
            block, int.from_bytes(block[4:8], order), order, big=False, most=MOST_TAGS
        )
    except ValueError:
        return None
    values = [value for tag, _, count, value in entries if tag == _ORIENTATION and count == 1]
    return values[0] if values and 1 <= values[0] <= 8 else None
