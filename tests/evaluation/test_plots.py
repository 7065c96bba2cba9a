"""The pictures are drawn, differ with the figures and are the same for the same figures."""

import numpy as np
from PIL import Image

from evaluation import plots

LABELS = ("neutral", "happiness")


def test_a_confusion_matrix_is_drawn_from_its_counts(tmp_path):
    drawn = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for path, matrix in zip(
        drawn, ([[9, 1], [2, 8]], [[9, 1], [2, 8]], [[5, 5], [0, 0]]), strict=True
    ):
        plots.confusion(np.array(matrix), LABELS, path, "net")
    one, again, other = (path.read_bytes() for path in drawn)
    assert one == again != other
    with Image.open(drawn[0]) as picture:
        assert min(picture.size) > 300


def test_a_reliability_diagram_is_drawn_with_empty_bins(tmp_path):
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.99, 0.01]])
    plots.reliability(probabilities, np.array([0, 1, 0]), tmp_path / "sure.png", "net")
    plots.reliability(probabilities, np.array([1, 1, 1]), tmp_path / "wrong.png", "net")
    assert (tmp_path / "sure.png").read_bytes() != (tmp_path / "wrong.png").read_bytes()
