"""An image for tests of the encoding, and its pixels after the way to the service."""

import numpy as np
from emotions.sources import read_image

from app.vision.image import ImageFile

RNG = np.random.default_rng(7)
# 40x24 pixels. All rotations and reflections are different.
RGB = np.kron(RNG.integers(0, 256, (3, 5, 3)), np.ones((8, 8, 1))).astype(np.uint8)
GRAY = RGB[:, :, 0]


def served(data):
    """Decode a file like the service. Returns (height, width, 3) RGB."""
    return ImageFile(data, max_pixels=10**9).read(color=True).bgr[:, :, ::-1]


def sent(image):
    """Encode an image like the client and decode it like the service. Returns (height, width, 3)
    RGB."""
    return served(read_image(image)[1])
