"""Random changes of light, sharpness, noise and compression of images, on the CPU."""

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

GRAY_SHARE = 0.35
LOG_GAMMA, LOG_CONTRAST, LIGHT = 0.35, 0.3, 25.0
CHANNEL_GAIN = 0.12
BLUR_SHARE, BLUR_SIGMA = 0.12, (0.5, 1.6)
REDUCED_SHARE, REDUCED = 0.1, (0.4, 0.8)  # reduced by this scale and enlarged again
NOISE_SHARE, NOISE_SIGMA = 0.12, 10.0
JPEG_SHARE, JPEG_QUALITY = 0.12, (25, 85)


def corrupt(scene: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Return a corrupted copy (height, width, 3) uint8 BGR. GRAY_SHARE of the copies are grey."""
    image: MatLike = scene
    if generator.random() < GRAY_SHARE:
        image = without_colors(scene)
        gains = np.ones(3)
    else:
        gains = 1 + generator.uniform(-CHANNEL_GAIN, CHANNEL_GAIN, 3)
    image = cv2.LUT(image, _light(generator, gains))
    if generator.random() < REDUCED_SHARE:
        factor = generator.uniform(*REDUCED)
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    if generator.random() < BLUR_SHARE:
        image = cv2.GaussianBlur(image, (0, 0), generator.uniform(*BLUR_SIGMA))
    if generator.random() < NOISE_SHARE:
        sigma = generator.uniform(0, NOISE_SIGMA)
        grain = sigma * generator.standard_normal(image.shape[:2], dtype=np.float32)
        image = np.clip(image + grain[..., None], 0, 255).astype(np.uint8)
    if generator.random() < JPEG_SHARE:
        quality = int(generator.integers(*JPEG_QUALITY))
        _, file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR))
    return np.asarray(image, dtype=np.uint8)


def without_colors(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert to grey with three equal channels."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), dtype=np.uint8)


def _light(generator: np.random.Generator, gains: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return a lookup table (1, 256, 3) with random gamma, contrast, brightness and channel
    gains."""
    values = np.arange(256) / 255
    curve = 255 * values ** np.exp(generator.uniform(-LOG_GAMMA, LOG_GAMMA))
    contrast = np.exp(generator.uniform(-LOG_CONTRAST, LOG_CONTRAST))
    curve = (curve - 127.5) * contrast + 127.5 + generator.uniform(-LIGHT, LIGHT)
    return np.clip(curve[:, None] * gains, 0, 255).round().astype(np.uint8)[None]
