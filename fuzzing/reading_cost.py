"""Measure the CPU time and memory of decoding an image.

Each image is decoded in a separate process. It is forked from a process that has imported the
decoder and decoded small images, so the cost is that of a warm worker. Starting Python for each
image would take longer than most measurements.
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
from testbed.processes import peak_mb, reset_peak

_HEAD = struct.Struct("<QQ?")  # size of the file in bytes, limit of pixels, colour
_KINDS = ("JPEG", "PNG", "TIFF", "GIF")


@dataclass(frozen=True)
class Cost:
    """The cost of decoding an image.

    `result` is "<width>x<height> read" or the name of the error. `milliseconds` is CPU time.
    `megabytes` is the growth of the peak of resident memory.
    """

    result: str
    milliseconds: float
    megabytes: float


class Meter:
    """Context manager of the process from which the measuring processes are forked."""

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
        """Measure the cost of decoding `data`.

        `pixels` is the limit of pixels; None is the default of the service. Raises RuntimeError if
        decoding ended the process.
        """
        limit = Settings().max_pixels if pixels is None else pixels
        request, response = self.process.stdin, self.process.stdout
        assert request is not None  # noqa: S101 - as Popen was called
        assert response is not None  # noqa: S101
        line = b""
        with contextlib.suppress(BrokenPipeError):
            request.write(_HEAD.pack(len(data), limit, color) + data)
            request.flush()
            line = response.readline()
        if not line:
            raise RuntimeError("decoding the image ended the process")
        return Cost(*json.loads(line))


def _read_exactly(count: int) -> bytes:
    """Read `count` bytes from standard input without buffering further bytes."""
    parts = []
    while count and (part := os.read(0, min(count, 1 << 20))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _measure(size: int, limit: int, color: bool) -> tuple[str, float, float]:
    data = _read_exactly(size)
    reset_peak()
    before, start = peak_mb(), time.process_time()
    try:
        raster = ImageFile(data, max_pixels=limit).read(color=color)
        result = "{}x{} read".format(*raster.size_wh)
    except EmotionError as error:
        result = type(error).__name__
    seconds = time.process_time() - start
    return result, 1000 * seconds, max(0.0, peak_mb() - before)


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
            # The child receives the file itself. Otherwise memory that the parent has freed could
            # hide the memory that the child needs.
            line = json.dumps(_measure(*_HEAD.unpack(head)))
            os.write(1, line.encode() + b"\n")
            os._exit(0)
        if os.waitpid(child, 0)[1] != 0:
            return


if __name__ == "__main__":
    _serve()
