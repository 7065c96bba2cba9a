"""Limits the number of `read` calls of Pillow's readers."""

import io

MAX_READS = 15_000  # maximum number of `read` calls per file


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
