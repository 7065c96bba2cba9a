"""Charts of the evaluations.

They use `Figure` directly, because `pyplot` would choose a backend and keep all figures in memory.
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from evaluation.calibration import reliability as reliability_bins
from evaluation.metrics import CALIBRATION_BINS

_DPI = 110
# Leave out the version of matplotlib, so that equal figures give equal files.
_METADATA = {"Software": None}


def save(figure: Figure, path: Path) -> None:
    """Write a PNG file."""
    figure.savefig(path, dpi=_DPI, metadata=_METADATA)


def confusion(
    matrix: NDArray[np.int64],
    labels: tuple[str, ...],
    path: Path,
    title: str,
    *,
    predicted: tuple[str, ...] | None = None,
) -> None:
    """Draw counts by ground truth (rows) and prediction (columns), coloured by share of the row.

    `predicted` has the names of the columns if they differ from those of the rows.
    """
    columns = predicted or labels
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(matrix.shape):
        if matrix[row, column]:
            colour = "white" if shares[row, column] > 0.55 else "black"
            share = f"{100 * shares[row, column]:.0f}%\n{matrix[row, column]}"
            axes.text(column, row, share, ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(columns)), columns, rotation=35, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="predicted", ylabel="truth", title=title)
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    save(figure, path)


def reliability(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], path: Path, title: str
) -> None:
    """Draw a reliability diagram: accuracy (bars) by the highest probability."""
    bins = reliability_bins(probabilities, labels)
    edges = np.arange(CALIBRATION_BINS) / CALIBRATION_BINS
    figure = Figure(figsize=(5.2, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    accuracy = [each.accuracy if each else 0 for each in bins]
    upper.bar(
        edges, accuracy, 1 / CALIBRATION_BINS, align="edge", edgecolor="white", label="measured"
    )
    upper.plot([0, 1], [0, 1], color="0.3", linestyle="--", label="perfect")
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title=title)
    upper.legend(frameon=False)
    faces = [each.faces if each else 0 for each in bins]
    lower.bar(edges, faces, 1 / CALIBRATION_BINS, align="edge", edgecolor="white", color="0.6")
    lower.set(xlabel="probability of the top emotion", ylabel="faces")
    save(figure, path)
