"""Pasting of faces, and of pieces without faces, into scenes.

A network can learn to detect the edges of pasted faces (Dwibedi et al. 2017, arXiv 1708.01642).
Therefore, the blending method is random, and pieces without faces are pasted in the same way.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_OVERLAP = 0.15  # with another face, relative to the smaller box
TRIES = 8
SKIN_BGR = np.array([[120, 150, 200], [90, 120, 175], [60, 85, 135], [45, 60, 100]], np.float32)
MATCH_SHARE = 0.6  # share of the pieces whose brightness is adapted to the scene
CLONE_SHARE = 0.1  # share of Poisson blending, which is the slowest method
MAX_CLONE_SIDE = 96


def paste(
    scene: NDArray[np.uint8],
    piece: NDArray[np.uint8],
    left: int,
    top: int,
    generator: np.random.Generator,
) -> None:
    """Blend `piece` (h, w, 3) into `scene` (height, width, 3) in place, with a random method. The
    part of the piece outside of the scene is cut off."""
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + piece.shape[1], scene.shape[1]), min(top + piece.shape[0], scene.shape[0])
    if x2 - x1 < 2 or y2 - y1 < 2:
        return
    window = (slice(y1 - top, y2 - top), slice(x1 - left, x2 - left))
    place = scene[y1:y2, x1:x2]
    if generator.random() < MATCH_SHARE:
        piece = _lit_like(piece, place, generator.uniform(0.4, 1.0))
    small = max(piece.shape[:2]) <= MAX_CLONE_SIDE
    if small and generator.random() < CLONE_SHARE and place.shape == piece.shape:
        mask = np.full(piece.shape[:2], 255, np.uint8)
        mask[[0, -1]] = mask[:, [0, -1]] = 0
        middle = (x1 + piece.shape[1] // 2, y1 + piece.shape[0] // 2)
        inside = x1 > 2 and y1 > 2 and x2 < scene.shape[1] - 2 and y2 < scene.shape[0] - 2
        if inside:
            scene[:] = cv2.seamlessClone(piece, scene, mask, middle, cv2.NORMAL_CLONE)
            return
    alpha = _mask(piece.shape[1], piece.shape[0], generator)[window][..., None]
    place[:] = np.rint(piece[window] * alpha + place * (1 - alpha)).astype(np.uint8)


def _mask(width: int, height: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Return the opacity of the piece (height, width): a rectangle or an ellipse with a hard or
    soft edge."""
    kind = generator.random()
    if kind < 0.2:
        return np.ones((height, width), np.float32)
    mask = np.zeros((height, width), np.float32)
    if kind < 0.5:
        edge = max(1, round(min(width, height) * generator.uniform(0.02, 0.1)))
        mask[edge:-edge, edge:-edge] = 1
    else:
        axes = (round(width * 0.5), round(height * generator.uniform(0.5, 0.56)))
        cv2.ellipse(mask, (width // 2, height // 2), axes, 0, 0, 360, 1.0, -1)
    sigma = max(0.5, min(width, height) * generator.uniform(0.005, 0.05))
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma), dtype=np.float32)


def _lit_like(
    piece: NDArray[np.uint8], place: NDArray[np.uint8], strength: float
) -> NDArray[np.uint8]:
    """Adapt brightness and contrast of the piece to those of the place in the scene."""
    mean, spread = float(piece.mean()), float(piece.std()) + 1
    target_mean, target_spread = float(place.mean()), float(place.std()) + 1
    gain = np.clip(target_spread / spread, 0.6, 1.4) ** strength
    shift = strength * np.clip(target_mean - mean, -60, 60)
    return np.asarray(
        cv2.convertScaleAbs(piece, alpha=gain, beta=mean * (1 - gain) + shift), dtype=np.uint8
    )


def tinted(gray: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Colour a grey face (height, width) with a random skin tone: (height, width, 3)."""
    tone = SKIN_BGR[generator.integers(len(SKIN_BGR))] * generator.uniform(0.9, 1.1, 3)
    tint = tone / (tone @ (0.114, 0.587, 0.299))
    # Bright areas have less colour.
    values = np.arange(256)[:, None] / 255
    table = 255 * values * (tint * (1 - values) + values * (1 + tint) / 2)
    table = np.clip(table, 0, 255).astype(np.uint8)[None]
    return np.asarray(cv2.LUT(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), table), dtype=np.uint8)


def free_corner(
    box: NDArray[np.float32],
    taken: NDArray[np.float32],
    side: int,
    generator: np.random.Generator,
) -> tuple[int, int] | None:
    """Choose the position of the corner of a piece whose face has the box `box` (4,).

    At least 90 % of the width and of the height of the face are inside the scene, and it overlaps
    the boxes `taken` (n, 4) by at most MAX_OVERLAP. Returns None if no position was found.
    """
    width, height = box[2:] - box[:2]
    if max(width, height) > side:
        return None
    for _ in range(TRIES):
        x1 = generator.uniform(-0.1 * width, side - 0.9 * width)
        y1 = generator.uniform(-0.1 * height, side - 0.9 * height)
        low = np.maximum(taken[:, :2], (x1, y1))
        high = np.minimum(taken[:, 2:], (x1 + width, y1 + height))
        shared = np.prod(np.clip(high - low, 0, None), axis=1)
        smaller = np.minimum(np.prod(taken[:, 2:] - taken[:, :2], axis=1), width * height)
        if (shared <= MAX_OVERLAP * smaller).all():
            return round(x1 - float(box[0])), round(y1 - float(box[1]))
    return None
