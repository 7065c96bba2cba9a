"""One number that makes probabilities mean what they say."""

import numpy as np
from numpy.typing import NDArray

from app.vision.classifier import softmax


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The T that minimises the cross-entropy of softmax(logits / T) with the labels
    (Guo et al. 2017, arXiv 1706.04599, section 4.2), to three digits."""
    rows = np.arange(len(labels))

    def cross_entropy(temperature: float) -> float:
        chosen = softmax(logits, temperature=temperature)[rows, labels]
        return float(-np.log(np.maximum(chosen, 1e-300)).mean())

    candidates = np.geomspace(0.2, 5, 1200)
    return float(f"{min(candidates, key=cross_entropy):.3g}")
