"""Image files that need much more time or memory than their size suggests."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from app.settings import ROOT

SIDE = 7000  # 49 megapixels, slightly below the default limit
FACE = 28  # pixels, slightly more than the smallest face that the cascade detects
TILED_SIDE = 4984
# With this JPEG quality, the noise takes 5.5 MB. As a PNG file, it would take 135 MB.
NOISE_QUALITY = 10


@cache
def tiled_faces(side: int = TILED_SIDE) -> bytes:
    """A PNG file of `side` pixels per side, tiled with one small face: 195 kB at 4984 pixels."""
    photo = np.asarray(cv2.imread(str(ROOT / "docs" / "astronaut.jpg"), cv2.IMREAD_GRAYSCALE))
    face = cv2.resize(photo[67:162, 177:272], (FACE, FACE), interpolation=cv2.INTER_AREA)
    count = side // FACE
    return _encoded(".png", np.tile(face, (count, count)), cv2.IMWRITE_PNG_COMPRESSION, 9)


@cache
def uniform_grey(side: int = SIDE) -> bytes:
    """A PNG file with a uniform grey."""
    return _encoded(".png", np.full((side, side), 128, np.uint8), cv2.IMWRITE_PNG_COMPRESSION, 9)


@cache
def noise(side: int = SIDE) -> bytes:
    """A JPEG file of coloured noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    return _encoded(".jpg", pixels, cv2.IMWRITE_JPEG_QUALITY, NOISE_QUALITY)


def _encoded(kind: str, pixels: NDArray[np.uint8], *options: int) -> bytes:
    return cv2.imencode(kind, pixels, options)[1].tobytes()
