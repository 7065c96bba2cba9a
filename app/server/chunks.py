"""Finds the end of a chunked body, so that the loop knows when a request is complete.

gunicorn's parser decodes the body afterwards and decides whether it is well formed. For malformed
chunks this scanner reports the end of the body, so that the parser runs and raises the error.
"""

import re

MAX_LINE_BYTES = 1_000  # maximum length of a chunk size line or a trailer line
MAX_TRAILER_BYTES = 16_000
# Maximum number of framing bytes (sizes, extensions, line ends) in excess of the data bytes.
FRAMING_ALLOWANCE = 64_000
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(;|\r\n)")


class TooMuchFraming(Exception):
    """The body has many more bytes of framing than of data, because its chunks are very small."""


class ChunkScanner:
    """Scans a body as it arrives. `feed` ignores bytes after the end of the body."""

    def __init__(self) -> None:
        self.data_bytes = 0
        self._framing_bytes = 0
        self._line = bytearray()
        self._skip = 0  # remaining bytes of the current chunk and its line break
        self._in_trailers = False
        self._trailer_bytes = 0
        self.ended = False

    def feed(self, data: bytes) -> bool:
        """Return whether the body has ended or is malformed. Raises TooMuchFraming."""
        position = 0
        while position < len(data) and not self.ended:
            if self._skip:
                step = min(self._skip, len(data) - position)
                self._skip -= step
                position += step
                continue
            end = data.find(b"\n", position)
            self._line += data[position : end + 1 if end >= 0 else len(data)]
            position = end + 1 if end >= 0 else len(data)
            if len(self._line) > MAX_LINE_BYTES:
                self.ended = True
            elif end >= 0:
                self._end_line(bytes(self._line))
                self._line.clear()
        return self.ended

    def _end_line(self, line: bytes) -> None:
        self._framing_bytes += len(line) + 2  # 2 for the line break after the data of a chunk
        if self._framing_bytes > FRAMING_ALLOWANCE + self.data_bytes:
            raise TooMuchFraming
        if self._in_trailers:
            self._trailer_bytes += len(line)
            self.ended = line == b"\r\n" or self._trailer_bytes > MAX_TRAILER_BYTES
            return
        size = _SIZE.match(line)
        if size is None or not line.endswith(b"\r\n"):
            self.ended = True
            return
        chunk = int(size[1], 16)
        self.data_bytes += chunk
        if chunk:
            self._skip = chunk + 2
        else:
            self._in_trailers = True
