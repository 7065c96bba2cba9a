"""Checks of a file's structure before Pillow decodes it.

Pillow checks sizes before it decodes. Some small files are expensive in other ways: a progressive
JPEG of 50 kB may have five thousand scans of 50 megapixels, and a TIFF of 15 MB may have millions
of strips, each an object in Python. No camera and no program makes the files that are refused here.

The checks raise ValueError with the reason, and ImageTooLarge or UnsupportedImageType if their
docstring says so.
"""

import io
import re
import struct
from dataclasses import dataclass
from typing import Literal

from app.errors import ImageTooLarge, UnsupportedImageType

MAX_READS = 15_000
MAX_PIECES = 10_000  # segments of a JPEG, chunks of a WebP
MAX_SCANS = 50  # of a progressive JPEG; programs make about 10
MAX_EXIF_BYTES = 131_072  # of a JPEG; the standard allows half of it
MAX_TAGS = 1_000  # of a TIFF
MAX_NUMBERS = 10_000  # in one tag of a TIFF: it has one for each strip or tile
TILE_MARGIN = 1_024  # pixels by which a tile may reach beyond the image

# The compressions that are read. libtiff writes a line to the log for each wrong row of a fax, of
# which a file can have millions.
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
    """A file in memory that can be read MAX_READS times.

    Pillow's readers in Python read separately for each chunk, tag, comment or run of pixels, so
    this limits the time that they take for any file: 15,000 reads take about 40 ms.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"the file has more than {MAX_READS:,} pieces")
        return super().read(size)


# ---------------------------------------------------------------- JPEG

# The next marker. In pixel data, FF is followed by 00 or by a restart marker (D0 to D7) only.
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
_SCAN, _END, _EXIF = 0xDA, 0xD9, 0xE1
_RESTART_INTERVAL = 0xDD
_BETWEEN_SCANS = {_SCAN, 0xC4, 0xCC, 0xDB, 0xDC, _RESTART_INTERVAL, 0xFE}  # tables, and comments
# Markers without a meaning in a JPEG. Decoders disagree about their length.
_RESERVED = {0x01, 0xC8, 0xD8, *range(0xF0, 0xFE)}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_READ_FRAMES = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # sequential and progressive; C9, CA arithmetic


def check_jpeg(data: bytes) -> None:
    """Limit scans, segments and EXIF. Raises UnsupportedImageType for lossless JPEG and others
    that libjpeg does not read."""
    # Most files have one scan, so the search usually ends at the first one.
    few_scans = data.count(b"\xff\xda") <= MAX_SCANS
    at, scans, segments, exif, junk = 2, 0, 0, 0, 0
    while found := _MARKER.search(data, at):
        if not scans:
            junk += found.start() - at
        marker, at = found[1][0], found.end()
        if marker == _END and scans:
            return
        (length,) = struct.unpack(">H", data[at : at + 2].ljust(2, b"\0"))
        if length < 2 or marker in _RESERVED:
            raise ValueError(f"it has a segment of type {marker:02X} with {length} bytes")
        if marker in _FRAMES and not scans:
            _check_frame(marker, data[at + 2 : at + 3])
        segments += 1
        scans += marker == _SCAN
        if marker == _EXIF and data.startswith(b"Exif\0\0", at + 2):
            exif += length
        if scans > MAX_SCANS or exif > MAX_EXIF_BYTES or max(segments, junk) > MAX_PIECES:
            raise ValueError(
                f"it has more than {MAX_SCANS} scans, {MAX_EXIF_BYTES:,} bytes of EXIF, or "
                f"{MAX_PIECES:,} segments or bytes between them"
            )
        if scans and few_scans:
            return
        at += length


def _check_frame(marker: int, precision: bytes) -> None:
    if marker not in _READ_FRAMES:
        raise UnsupportedImageType("the JPEG image is lossless or hierarchical: not supported")
    if precision and precision[0] != 8:
        raise UnsupportedImageType(
            f"the JPEG image has {precision[0]} bits a channel: 8 are supported"
        )


@dataclass(frozen=True, slots=True)
class JpegScan:
    """A scan has the coefficients `first` to `last` of some components, down to bit `low_bit`.
    Its data begins at `start` and ends before `end`. `restart_interval` is the number of MCUs
    between two restart markers, 0 without them."""

    components: bytes
    first: int
    last: int
    low_bit: int
    start: int
    end: int
    restart_interval: int


def jpeg_scans(data: bytes) -> tuple[list[JpegScan], bool]:
    """The scans of a JPEG that `check_jpeg` accepts, and whether an end marker follows them.

    Anything after a scan that is not another scan or a table counts as a trailer.
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
    """The marker of the frame header of a JPEG that `check_jpeg` accepts, and its content; (0, b"")
    if there is none."""
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
    """Limit chunks. Each frame of an animation is one, and libwebp reads all of them before it
    decodes the first."""
    at = 12
    for _ in range(MAX_PIECES):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
        if at >= len(data):
            return
    raise ValueError(f"it has more than {MAX_PIECES:,} chunks")


# ---------------------------------------------------------------- TIFF

Order = Literal["little", "big"]

_BYTES_EACH = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_BYTES_EACH |= {13: 4, 16: 8, 17: 8, 18: 8}
_TEXT = {1, 2, 7}  # types that stay bytes, where others become a number each
_WIDTH, _HEIGHT, _COMPRESSION, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 259, 322, 323
_DIRECTORIES = {34665, 34853, 40965}  # EXIF, GPS, interoperability: read along with a picture


def check_tiff(data: bytes) -> None:
    """Limit tags and strips.

    Raises ImageTooLarge for a tile far larger than the image, and UnsupportedImageType for a
    compression that is not read.
    """
    order: Order = "little" if data[:2] == b"II" else "big"
    big = data[2:4] in (b"+\0", b"\0+")
    if big and order == "big":
        raise UnsupportedImageType("the image is a big-endian BigTIFF, which is not supported")
    first = data[8:16] if big else data[4:8]
    sizes: dict[int, int] = {_WIDTH: 0, _HEIGHT: 0}
    left, todo, seen = MAX_TAGS, [int.from_bytes(first, order)], set[int]()
    while todo:
        directory = todo.pop()
        if directory in seen:
            continue
        seen.add(directory)
        entries = tiff_entries(data, directory, order, big=big, most=left)
        left -= len(entries)
        for tag, kind, count, value in entries:
            if kind not in _TEXT and count > MAX_NUMBERS:
                raise ValueError(f"its tag {tag} has more than {MAX_NUMBERS:,} numbers")
            if tag in _DIRECTORIES:
                todo.append(value)
            if tag == _COMPRESSION and value not in TIFF_COMPRESSIONS:
                name = _OTHER_COMPRESSIONS.get(value, f"number {value}")
                raise UnsupportedImageType(
                    f"the TIFF image has the compression {name}: supported are "
                    f"{', '.join(dict.fromkeys(TIFF_COMPRESSIONS.values()))}"
                )
            # If a tag is repeated, decoders may use either value.
            if tag in (_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT):
                sizes[tag] = max(value, sizes.get(tag, 0))
    tile = sizes.get(_TILE_WIDTH, 0), sizes.get(_TILE_HEIGHT, 0)
    size = sizes[_WIDTH], sizes[_HEIGHT]
    if any(side > its + TILE_MARGIN for side, its in zip(tile, size, strict=True)):
        raise ImageTooLarge(
            f"the image of {size[0]}x{size[1]} pixels is in tiles of {tile[0]}x{tile[1]}"
        )


def tiff_entries(
    data: bytes, at: int, order: Order, *, big: bool, most: int
) -> list[tuple[int, int, int, int]]:
    """(tag, type, count, its first number or where its values are) of a directory. Those that the
    file is too short for are left out."""
    wide, each = (8, 20) if big else (2, 12)
    count = int.from_bytes(data[at : at + wide], order)
    if count > most:
        raise ValueError(f"it has more than {MAX_TAGS:,} tags")
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

_ORIENTATION, _SHORT = 0x0112, 3


def exif_orientation(exif: bytes) -> int | None:
    """The orientation that an EXIF block gives, 1 to 8; None where it gives none that can be read.
    Nothing else of the block is looked at. Raises nothing."""
    block = exif.removeprefix(b"Exif\0\0")
    if block[:4] not in (b"II*\0", b"MM\0*"):
        return None
    order: Order = "little" if block[:2] == b"II" else "big"
    try:
        entries = tiff_entries(
            block, int.from_bytes(block[4:8], order), order, big=False, most=MAX_TAGS
        )
    except ValueError:
        return None
    for tag, kind, count, value in entries:
        if tag != _ORIENTATION or (count != 1 and (kind, count) != (_SHORT, 2)):
            continue
        # Some programs write two numbers. The first is in the lower bytes of the file.
        first = value if count == 1 else value & 0xFFFF if order == "little" else value >> 16
        return first if 1 <= first <= 8 else None
    return None
