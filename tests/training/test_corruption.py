"""Random corruption of images on the CPU."""

import cv2
import numpy as np

from training.data import corruption
from training.data.corruption import corrupt, without_colors


def test_corrupt_returns_a_copy_that_depends_on_the_seed():
    image = np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)
    before = image.copy()
    results = [corrupt(image, np.random.default_rng(seed)) for seed in range(60)]
    again = [corrupt(image, np.random.default_rng(seed)) for seed in range(60)]
    for first, second in zip(results, again, strict=True):
        assert first.shape == image.shape
        assert first.dtype == np.uint8
        assert not np.shares_memory(first, image)
        assert np.array_equal(first, second)
    assert len({each.tobytes() for each in results}) == len(results)
    assert np.array_equal(image, before)


def test_corrupt_removes_the_colours_of_some_images():
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    gray = [np.ptp(corrupt(image, np.random.default_rng(n)), axis=2).max() == 0 for n in range(300)]
    assert abs(np.mean(gray) - corruption.GRAY_SHARE) < 0.1
    flat = np.full((16, 16, 3), 128, np.uint8)
    cast = [np.ptp(corrupt(flat, np.random.default_rng(n)), axis=2).max() > 5 for n in range(300)]
    assert 0.4 < np.mean(cast) < 1 - corruption.GRAY_SHARE + 0.1
    without = without_colors(image)
    assert np.ptp(without, axis=2).max() == 0
    assert np.array_equal(without[:, :, 0], cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


def test_corrupt_does_not_move_the_content():
    image = np.full((120, 160, 3), 60, np.uint8)
    image[30:70, 40:100] = 190
    for seed in range(100):
        light = corrupt(image, np.random.default_rng(seed)).mean(axis=2)
        middle = (light[50, 70] + light[100, 130]) / 2
        rows, columns = np.nonzero(cv2.blur(light, (3, 3)) > middle)
        found = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert np.abs(np.subtract(found, (40, 30, 100, 70))).max() <= 3
