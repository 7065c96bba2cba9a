"""Images in the sizes of cameras, enlarged from small photographs."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

PHOTOGRAPHS = 6
NOISE = 4.0  # grey levels; without noise, the file of an enlarged image is too small
QUALITY = 90


def camera_images(photographs: Iterable[Path], megapixels: float) -> list[bytes]:
    """Return JPEG files of the largest PHOTOGRAPHS photographs, enlarged to `megapixels`.

    Noise is added so that the files are about as large as files of a camera.
    """
    largest = sorted(photographs, key=_pixels, reverse=True)[:PHOTOGRAPHS]
    return [_enlarged(path, megapixels) for path in largest]


def _pixels(path: Path) -> int:
    with Image.open(path) as image:
        return image.width * image.height


def _enlarged(path: Path, megapixels: float) -> bytes:
    image = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR))
    factor = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, NOISE, image.shape)
    noisy = np.clip(image + noise, 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
