"""Calibration of trained networks on validation data."""

import numpy as np
from numpy.typing import NDArray

from app.vision.classifier import softmax

MIN_STEP = 1e-6


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the temperature T that minimises the cross-entropy of softmax(logits / T) with the
    labels, to three digits (Guo et al. 2017, arXiv 1706.04599, section 4.2)."""
    rows = np.arange(len(labels))

    def cross_entropy(temperature: float) -> float:
        likelihoods = softmax(logits, temperature=temperature)[rows, labels]
        return float(-np.log(np.maximum(likelihoods, 1e-300)).mean())

    candidates = np.geomspace(0.2, 5, 1200)
    return float(f"{min(candidates, key=cross_entropy):.3g}")


def fit_logistic(logits: NDArray[np.float64], hits: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the scale a > 0 and the bias b that minimise the cross-entropy of
    sigmoid(a · logit + b) with `hits` (n,), to three digits (Platt 1999).

    The method is Newton's with a line search: a step is halved until it reduces the cross-entropy
    (Lin et al. 2007, Machine Learning 68, 267).
    """
    columns = np.stack([logits, np.ones_like(logits)], axis=1)
    signs = np.where(hits, -1.0, 1.0)

    def cost(weights: NDArray[np.float64]) -> float:
        return float(np.logaddexp(0, signs * (columns @ weights)).sum())

    weights = np.array([1.0, 0.0])
    for _ in range(50):
        probabilities = np.exp(-np.logaddexp(0, -columns @ weights))
        gradient = columns.T @ (probabilities - hits)
        hessian = (columns * (probabilities * (1 - probabilities))[:, None]).T @ columns
        # The regularisation keeps steps finite if all detections are correct.
        step = np.linalg.solve(hessian + 1e-3 * np.eye(2), gradient)
        while cost(weights - step) > cost(weights) and np.abs(step).max() > MIN_STEP:
            step = step / 2
        weights = weights - step
    scale, bias = (float(f"{value:.3g}") for value in weights)
    return max(scale, 1e-3), bias
