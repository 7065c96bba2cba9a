"""Reads the boxes of ISO base media files (ISO/IEC 14496-12), such as HEIC and AVIF files."""

from collections.abc import Iterator
from typing import TypeVar

Buffer = TypeVar("Buffer", bytes, memoryview)

MAX_BOXES = 5_000  # maximum number of boxes on one level


class Numbers:
    """Reads big-endian numbers from a box. Raises ValueError at the end of the data."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> int:
        end = self._at + size
        if end > len(self._data):
            raise ValueError("a box is too short")
        value = int.from_bytes(self._data[self._at : end], "big")
        self._at = end
        return value

    def rest(self) -> bytes:
        return self._data[self._at :]


def boxes(data: Buffer) -> Iterator[tuple[bytes, Buffer]]:
    """Yield (type, content) of each box in `data`. Raises ValueError for a box with an impossible
    size and for more than MAX_BOXES boxes."""
    at = 0
    for _ in range(MAX_BOXES):
        if at + 8 > len(data):
            return
        size, name = int.from_bytes(data[at : at + 4], "big"), bytes(data[at + 4 : at + 8])
        header_size = 8
        if size == 1:
            size, header_size = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        size = size or len(data) - at
        if size < header_size:
            raise ValueError("a box is too short")
        yield name, data[at + header_size : at + size]
        at += size
    raise ValueError(f"the file has more than {MAX_BOXES:,} boxes")
