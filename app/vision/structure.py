"""Checks the structure of a file before Pillow decodes it.

Small files can be expensive to decode: a progressive JPEG of 50 kB may have five thousand scans of
50 megapixels, and a TIFF of 15 MB may have millions of strips, each of which becomes a Python
object. The size check does not detect such files. Cameras and image programs do not write them.

The checks raise ValueError with the reason. A function that raises another error says so in its
docstring. See docs/internals/file-structure.md.
"""

import io
import re
import struct
from dataclasses import dataclass
from typing import Literal

from app.errors import ImageTooLarge, UnsupportedImageType

MAX_READS = 15_000  # maximum number of `read` calls per file
# Maximum number of segments of a JPEG, of bytes between its segments, and of chunks of a WebP.
MAX_PIECES = 10_000
MAX_SCANS = 50  # maximum number of scans of a progressive JPEG; usual files have about 10
MAX_EXIF_BYTES = 131_072  # maximum bytes of EXIF in a JPEG, twice the limit of the standard
MAX_TAGS = 1_000  # maximum number of tags of a TIFF
MAX_NUMBERS = 10_000  # maximum number of values of a TIFF tag; a tag has one per strip or tile
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


class ReadLimitedFile(io.BytesIO):
    """A file in memory that allows MAX_READS `read` calls.

    Pillow's readers in Python call `read` for each chunk, tag, comment or run of pixels. The limit
    therefore bounds their time for any file: 15,000 reads take about 40 ms.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"reading the file takes more than {MAX_READS:,} steps")
        return super().read(size)


# ---------------------------------------------------------------- JPEG

# A marker. In pixel data, FF is always followed by 00 or by D0 to D7 (a restart marker).
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_SCAN, _END, _EXIF = 0xDA, 0xD9, 0xE1
_RESTART_INTERVAL = 0xDD
_BETWEEN_SCANS = {_SCAN, 0xC4, 0xCC, 0xDB, 0xDC, _RESTART_INTERVAL, 0xFE}  # tables, and comments
# Markers without a meaning in a JPEG file. Decoders disagree about the length of their segments.
_RESERVED = {0x01, 0xC8, 0xD8, *range(0xF0, 0xFE)}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_READ_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # sequential and progressive; C9, CA arithmetic


def check_jpeg(data: bytes) -> None:
    """Limit the scans, segments and EXIF of a JPEG. Raises UnsupportedImageType for variants that
    libjpeg cannot decode, such as lossless JPEG."""
    # Most files have one scan, so the search usually ends at the first scan.
    few_scans = data.count(b"\xff\xda") <= MAX_SCANS
    at, scans, segments, exif, junk = 2, 0, 0, 0, 0
    while found := _MARKER.search(data, at):
        if not scans:
            junk += found.start() - at
        marker, at = found[1][0], found.end()
        if marker == _END and scans:
            return
        (length,) = struct.unpack(">H", data[at : at + 2].ljust(2, b"\0"))
        if marker in _RESERVED:
            raise ValueError(f"the segment type {marker:02X} is not allowed")
        if length < 2:
            raise ValueError(f"the length of a segment of type {marker:02X} is less than 2")
        if marker in _FRAMES and not scans:
            _check_frame(marker, data[at + 2 : at + 3])
        segments += 1
        scans += marker == _SCAN
        if marker == _EXIF and data.startswith(b"Exif\0\0", at + 2):
            exif += length
        _check_at_most(MAX_SCANS, scans, "scans")
        _check_at_most(MAX_EXIF_BYTES, exif, "bytes of EXIF")
        _check_at_most(MAX_PIECES, segments, "segments")
        _check_at_most(MAX_PIECES, junk, "bytes between segments")
        if scans and few_scans:
            return
        at += length


def _check_at_most(limit: int, count: int, unit: str) -> None:
    if count > limit:
        raise ValueError(f"more than {limit:,} {unit}")


def _check_frame(marker: int, precision: bytes) -> None:
    if marker not in _READ_FRAMES:
        raise UnsupportedImageType(
            "the JPEG image is lossless or hierarchical, which is not supported"
        )
    if precision and precision[0] != 8:
        raise UnsupportedImageType(
            f"the JPEG image has {precision[0]} bits per channel; only 8 bits are supported"
        )


@dataclass(frozen=True, slots=True)
class JpegScan:
    """A scan of a JPEG: the coefficients `first` to `last` of some components, down to bit
    `low_bit`.

    The data are in the bytes from `start` (inclusive) to `end` (exclusive). `restart_interval` is
    the number of MCUs between two restart markers, or 0 without restart markers.
    """

    components: bytes
    first: int
    last: int
    low_bit: int
    start: int
    end: int
    restart_interval: int


def jpeg_scans(data: bytes) -> tuple[list[JpegScan], bool]:
    """Return the scans of a JPEG that `check_jpeg` accepts, and whether an end marker follows them.

    After the first scan, other segments than scans, tables and comments count as a trailer.
    """
    at, scans, interval = 2, list[JpegScan](), 0
    while found := _MARKER.search(data, at):
        marker, at = found[1][0], found.end()
        length = int.from_bytes(data[at : at + 2], "big")
        if marker == _END:
            return scans, True
        if scans and marker not in _BETWEEN_SCANS:
            break
        body = data[at + 2 : at + length]
        at += length
        if marker == _RESTART_INTERVAL:
            interval = int.from_bytes(body[:2], "big")
        if marker == _SCAN:
            if len(body) < 4 or len(body) < 4 + 2 * body[0]:
                break
            after = _MARKER.search(data, at)
            components = body[1 : 1 + 2 * body[0] : 2]
            first, last, bits = body[1 + 2 * body[0] :][:3]
            end = after.start() if after else len(data)
            scans.append(JpegScan(components, first, last, bits & 15, at, end, interval))
            if len(scans) > MAX_SCANS:
                break
    return scans, False


def jpeg_frame(data: bytes) -> tuple[int, bytes]:
    """Return the marker and the content of the frame header of a JPEG that `check_jpeg` accepts;
    (0, b"") if there is none."""
    at = 2
    while found := _MARKER.search(data, at):
        marker, at = found[1][0], found.end()
        length = int.from_bytes(data[at : at + 2], "big")
        if marker in _FRAMES:
            return marker, data[at + 2 : at + length]
        if marker in (_SCAN, _END):
            break
        at += length
    return 0, b""


# ---------------------------------------------------------------- WebP


def check_webp(data: bytes) -> None:
    """Limit the chunks of a WebP. Each frame of an animation is a chunk, and libwebp reads all
    chunks before it decodes the first frame."""
    at = 12
    for _ in range(MAX_PIECES):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
        if at >= len(data):
            return
    raise ValueError(f"more than {MAX_PIECES:,} chunks")


# ---------------------------------------------------------------- TIFF

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


# ---------------------------------------------------------------- EXIF

_ORIENTATION, _SHORT = 0x0112, 3


def exif_orientation(exif: bytes) -> int | None:
    """Return the orientation in an EXIF block, 1 to 8; None if there is no valid orientation. Reads
    nothing else of the block and raises no errors."""
    block = exif.removeprefix(b"Exif\0\0")
    if block[:4] not in (b"II*\0", b"MM\0*"):
        return None
    order: Order = "little" if block[:2] == b"II" else "big"
    try:
        entries = tiff_entries(
            block, int.from_bytes(block[4:8], order), order, big=False, max_entries=MAX_TAGS
        )
    except ValueError:
        return None
    for tag, kind, count, value in entries:
        if tag != _ORIENTATION or (count != 1 and (kind, count) != (_SHORT, 2)):
            continue
        # Some programs write two numbers. The first number is at the lower address.
        first = value if count == 1 else value & 0xFFFF if order == "little" else value >> 16
        return first if 1 <= first <= 8 else None
    return None
