"""Pictures to send: photographs at the sizes of cameras, and the three example pictures."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from training.data.photos import read_photographs

MEGAPIXELS = (0.3, 1, 4, 16)
EXAMPLES = ("angry.jpeg", "happy.jpeg", "test.jpg")
PHOTOGRAPHS = 6
NOISE = 4.0  # grey levels: a camera's grain, without which an enlarged picture is a small file
QUALITY = 90


def example_images(data: Path) -> list[bytes]:
    return [(data / "seed-examples" / name).read_bytes() for name in EXAMPLES]


def photographs(data: Path, megapixels: float) -> list[bytes]:
    """JPEG files of photographs with faces, enlarged to so many megapixels (the largest at hand
    has 0.3), with grain so that they are as large as a camera's. Raises PhotosError."""
    with_faces = [
        photograph.path
        for photograph in read_photographs(data / "photos", "natural", split=None)
        if any(face.sure for face in photograph.faces)
    ]
    with_faces.sort(key=_pixels, reverse=True)
    return [_enlarged(path, megapixels) for path in with_faces[:PHOTOGRAPHS]]


def _pixels(path: Path) -> int:
    with Image.open(path) as image:
        return image.width * image.height


def _enlarged(path: Path, megapixels: float) -> bytes:
    image = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR))
    factor = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, NOISE, image.shape)
    grainy = np.clip(image + noise, 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", grainy, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
