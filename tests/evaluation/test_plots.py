"""Charts depend on the figures, and equal figures give equal files."""

import numpy as np
from PIL import Image

from evaluation import plots

LABELS = ("neutral", "happiness")


def test_confusion_draws_the_counts(tmp_path):
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for path, matrix in zip(
        paths, ([[9, 1], [2, 8]], [[9, 1], [2, 8]], [[5, 5], [0, 0]]), strict=True
    ):
        plots.confusion(np.array(matrix), LABELS, path, "net")
    one, again, other = (path.read_bytes() for path in paths)
    assert one == again != other
    with Image.open(paths[0]) as image:
        assert min(image.size) > 300


def test_reliability_draws_empty_bins(tmp_path):
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.99, 0.01]])
    plots.reliability(probabilities, np.array([0, 1, 0]), tmp_path / "sure.png", "net")
    plots.reliability(probabilities, np.array([1, 1, 1]), tmp_path / "wrong.png", "net")
    assert (tmp_path / "sure.png").read_bytes() != (tmp_path / "wrong.png").read_bytes()
