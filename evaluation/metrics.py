"""Figures of a classifier, computed from probabilities and true classes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Scores:
    """Figures of a classifier.

    `recall` and `precision` (classes,) are NaN for a class without faces or without predictions.
    The macro figures are means over the classes with faces. `confusion` (classes, classes) counts
    by ground truth and prediction.
    """

    count: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    macro_recall: float
    macro_f1: float
    calibration_error: float
    confusion: NDArray[np.int64]


def score(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> Scores:
    """Scores of `probabilities` (n, classes) against `labels` (n,)."""
    predicted = probabilities.argmax(axis=1)
    hits = predicted == labels
    confusion = confusion_matrix(labels, predicted, classes=probabilities.shape[1])
    correct = confusion.diagonal()
    with np.errstate(invalid="ignore"):
        recall = correct / confusion.sum(axis=1)
        precision = correct / confusion.sum(axis=0)
    present = confusion.sum(axis=1) > 0
    f1 = 2 * correct / np.maximum(confusion.sum(axis=1) + confusion.sum(axis=0), 1)
    return Scores(
        count=len(labels),
        accuracy=float(hits.mean()),
        accuracy_interval=bootstrap_interval(hits),
        recall=recall,
        precision=precision,
        macro_recall=float(recall[present].mean()),
        macro_f1=float(f1[present].mean()),
        calibration_error=expected_calibration_error(probabilities.max(axis=1), hits),
        confusion=confusion,
    )


def confusion_matrix(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], *, classes: int
) -> NDArray[np.int64]:
    """Counts (classes, classes): rows are the ground truth, columns the predictions."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def expected_calibration_error(
    confidence: NDArray[np.float64], hits: NDArray[np.bool_], *, bins: int = CALIBRATION_BINS
) -> float:
    """Σ |share of hits − mean confidence| · n_bin / n over equal-width bins of confidence
    (Guo et al. 2017, arXiv 1706.04599, eq. 3)."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(index, weights=hits - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(hits))


def bootstrap_interval(
    values: NDArray[Any], *, share: float = 0.95, rounds: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values`."""
    generator = np.random.default_rng(seed)
    means = [generator.choice(values, len(values)).mean() for _ in range(rounds)]
    low, high = np.quantile(means, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)


def bootstrap_ratios(
    parts: NDArray[Any],
    wholes: NDArray[Any],
    *,
    share: float = 0.95,
    rounds: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of sum(parts) / sum(wholes).

    The rows of `parts` and `wholes` (n,) are drawn together. NaN if every sum of wholes is zero.
    """
    rows = np.random.default_rng(seed).integers(0, len(parts), (rounds, len(parts)))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = parts[rows].sum(axis=1) / wholes[rows].sum(axis=1)
    if not np.isfinite(ratios).any():
        return float("nan"), float("nan")
    low, high = np.nanquantile(ratios, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
