"""Finds the pieces of an image file: chunks, segments, boxes and directory entries."""

from collections.abc import Callable
from typing import Literal

from testbed.image_writers import PNG_START

Piece = tuple[int, int]  # offset and length in bytes


def pieces(data: bytes) -> list[Piece]:
    """The pieces of a file with their headers, up to the first one that cannot be parsed."""
    if data.startswith(PNG_START):
        return _walk(data, 8, lambda at: 12 + int.from_bytes(data[at : at + 4], "big"))
    if data.startswith(b"\xff\xd8"):
        return _walk(data, 2, lambda at: 2 + int.from_bytes(data[at + 2 : at + 4], "big"))
    if data.startswith(b"RIFF"):
        return [(0, 12), *_walk(data, 12, lambda at: _riff_length(data, at))]
    if data[:2] in (b"II", b"MM"):
        return _entries(data)
    if data.startswith(b"GIF"):
        return [(0, 13), *_gif_blocks(data)]
    is_bmp = data[4:8] != b"ftyp"
    return [(0, 14), (14, 40)] if is_bmp else _iso_boxes(data, 0, len(data))[:256]


def _walk(data: bytes, at: int, length: Callable[[int], int]) -> list[Piece]:
    found: list[Piece] = []
    while at + 4 <= len(data) and len(found) < 64:
        found.append((at, min(length(at), len(data) - at)))
        at += length(at)
    return found


def _riff_length(data: bytes, at: int) -> int:
    length = int.from_bytes(data[at + 4 : at + 8], "little")
    return 8 + length + length % 2


def _entries(data: bytes) -> list[Piece]:
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    big = data[2:4] in (b"+\0", b"\0+")
    at = int.from_bytes(data[8:16] if big else data[4:8], order)
    count = int.from_bytes(data[at : at + (8 if big else 2)], order)
    first, each = (at + 8, 20) if big else (at + 2, 12)
    entries = [(first + each * number, each) for number in range(min(count, 64))]
    return [(0, 16 if big else 8), *(entry for entry in entries if sum(entry) <= len(data))]


# Boxes that contain boxes, with the number of bytes before the first one.
_ISO_PARENTS = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"iinf": 6, b"iref": 4}


def _iso_boxes(data: bytes, at: int, end: int) -> list[Piece]:
    found: list[Piece] = []
    while at + 8 <= end and len(found) < 256:
        length = min(max(8, int.from_bytes(data[at : at + 4], "big")), end - at)
        found.append((at, length))
        before = _ISO_PARENTS.get(data[at + 4 : at + 8])
        if before is not None:
            found += _iso_boxes(data, at + 8 + before, at + length)
        at += length
    return found


def _gif_blocks(data: bytes) -> list[Piece]:
    """Extensions and frames, found by their first byte. Pixels with the same value match too."""
    marks = [at for at in range(13, len(data)) if data[at : at + 1] in (b"!", b",")]
    return [(at, min(12, len(data) - at)) for at in marks[:64]]
