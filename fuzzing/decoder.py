"""Fuzz the decoder: a damaged image must be decoded or raise a documented error in time."""

import random
import time

from app.errors import ImageTooLarge, NoImage, UndecodableImage, UnsupportedImageType
from app.vision.image import ImageFile
from fuzzing.damage import damaged
from fuzzing.report import Finding, Report

DOCUMENTED = (NoImage, UnsupportedImageType, ImageTooLarge, UndecodableImage)
MAX_PIXELS = 2_000_000
MAX_SECONDS = 0.5  # CPU time per image


def image_number(seed: int, index: int) -> bytes:
    """The damaged image with this number."""
    return damaged(random.Random(f"{seed}:{index}"))


def read(data: bytes, *, scale: float, color: bool) -> str:
    """Decode an image. Return "read", or the name of a documented error.

    Raises Finding for a result with wrong dimensions or types.
    """
    try:
        raster = ImageFile(data, max_pixels=MAX_PIXELS).read(scale=scale, color=color)
    except DOCUMENTED as error:
        return type(error).__name__
    width, height = raster.size_wh
    shape = raster.gray.shape
    if (
        not 0 < width * height <= MAX_PIXELS
        or abs(shape[1] - width * raster.scale) >= 1
        or abs(shape[0] - height * raster.scale) >= 1
        or raster.gray.dtype != "uint8"
        or (color and raster.bgr.shape != (*shape, 3))
    ):
        raise Finding(f"an image of {raster.size_wh} decoded to {shape} pixels")
    return "read"


def run(count: int, *, seed: int, first: int = 0) -> Report:
    """Decode `count` damaged images.

    Raises Finding with the number of the input; `--seed S --first NUMBER --inputs 1` repeats it.
    """
    report = Report("decoder", count)
    for index in range(first, first + count):
        data = image_number(seed, index)
        rng = random.Random(index)
        start = time.process_time()
        try:
            result = read(data, scale=rng.choice((1.0, 0.5, 0.1)), color=rng.random() < 0.5)
        except Exception as error:
            raise Finding(f"input {index} of seed {seed}: {error!r}") from error
        seconds = time.process_time() - start
        if seconds > MAX_SECONDS:
            raise Finding(f"input {index} of seed {seed}: took {seconds:.2f} s")
        report.note(index, result, seconds, f"{len(data)} bytes, {data[:4]!r}")
    return report
