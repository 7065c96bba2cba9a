"""Measures what reading an image costs: CPU time and memory.

Every image is read by a process of its own, forked from one that has imported the decoder and read
small images, so that an image costs what it costs a worker that runs for a while. Starting Python
anew for each image would take longer than most measurements.
"""

import contextlib
import io
import json
import os
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Self

from PIL import Image

from app.errors import EmotionError
from app.settings import ROOT, Settings
from app.vision.image import ImageFile
from testbed.processes import forget_peak, peak_mb

_HEAD = struct.Struct("<QQ?")  # bytes of the file, pixels allowed, whether in colour
_KINDS = ("JPEG", "PNG", "TIFF", "GIF")


@dataclass(frozen=True)
class Cost:
    """`came` is "<width>x<height> read" or the name of the error. `milliseconds` are of CPU time,
    `megabytes` are those by which the peak of resident memory grew."""

    came: str
    milliseconds: float
    megabytes: float


class Meter:
    """A context that owns the process which the measuring ones are forked from."""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def cost(self, data: bytes, *, color: bool = True, pixels: int | None = None) -> Cost:
        """Return what reading `data` costs. `pixels` is the limit, the service's default unless
        given. Raises RuntimeError if the process died."""
        limit = Settings().max_pixels if pixels is None else pixels
        request, answer = self.process.stdin, self.process.stdout
        assert request is not None  # noqa: S101 - as Popen was called
        assert answer is not None  # noqa: S101
        line = b""
        with contextlib.suppress(BrokenPipeError):
            request.write(_HEAD.pack(len(data), limit, color) + data)
            request.flush()
            line = answer.readline()
        if not line:
            raise RuntimeError("reading the image ended the process")
        return Cost(*json.loads(line))


def _read_exactly(count: int) -> bytes:
    """Read from standard input without reading further, which Python's buffers would do."""
    parts = []
    while count and (part := os.read(0, min(count, 1 << 20))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _measured(size: int, limit: int, color: bool) -> tuple[str, float, float]:
    data = _read_exactly(size)
    forget_peak()
    before, start = peak_mb(), time.process_time()
    try:
        raster = ImageFile(data, max_pixels=limit).read(color=color)
        came = "{}x{} read".format(*raster.size_wh)
    except EmotionError as error:
        came = type(error).__name__
    spent = time.process_time() - start
    return came, 1000 * spent, max(0.0, peak_mb() - before)


def _small(kind: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, kind)
    return data.getvalue()


def _serve() -> None:
    for kind in _KINDS:
        ImageFile(_small(kind), max_pixels=64).read(color=True)
    while head := _read_exactly(_HEAD.size):
        child = os.fork()
        if child == 0:
            # The child reads the file itself, so that memory which the parent once used and freed
            # cannot hide what the child needs.
            line = json.dumps(_measured(*_HEAD.unpack(head)))
            os.write(1, line.encode() + b"\n")
            os._exit(0)
        if os.waitpid(child, 0)[1] != 0:
            return


if __name__ == "__main__":
    _serve()
