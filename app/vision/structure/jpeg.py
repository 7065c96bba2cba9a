"""Checks the structure of a JPEG, and reads the scans and the frame header of a JPEG."""

import re
import struct
from dataclasses import dataclass

from app.errors import UnsupportedImageType

MAX_SCANS = 50  # maximum number of scans of a progressive JPEG; usual files have about 10
MAX_SEGMENTS = 10_000  # maximum number of segments
MAX_JUNK_BYTES = 10_000  # maximum number of bytes between segments
MAX_EXIF_BYTES = 131_072  # maximum bytes of EXIF, twice the limit of the standard

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
        _check_at_most(MAX_SEGMENTS, segments, "segments")
        _check_at_most(MAX_JUNK_BYTES, junk, "bytes between segments")
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
