"""Calibration of the probabilities of a classifier."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.vision.classifier import softmax
from evaluation.metrics import CALIBRATION_BINS, expected_calibration_error
from training.calibration import fit_temperature

FOLDS = 5
THRESHOLDS = (0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class Bin:
    """The faces whose highest probability is in one bin of a reliability diagram."""

    faces: int
    mean_confidence: float
    accuracy: float


@dataclass(frozen=True)
class PrecisionAtThreshold:
    """The faces whose probability of a class reaches a threshold.

    `precision` is the share of them that has this class.
    """

    faces: int
    precision: float


def held_out_probabilities(
    logits: NDArray[np.float32], labels: NDArray[np.int64], *, folds: int = FOLDS, seed: int = 0
) -> NDArray[np.float64]:
    """Probabilities (n, classes) of cross-validated temperature scaling.

    The temperature of each fold is fitted on the other folds.
    """
    fold = np.random.default_rng(seed).permutation(len(labels)) % folds
    probabilities = np.empty(logits.shape)
    for held_out in range(folds):
        chosen = fold == held_out
        temperature = fit_temperature(logits[~chosen], labels[~chosen])
        probabilities[chosen] = softmax(logits[chosen], temperature=temperature)
    return probabilities


def noise_floor(probabilities: NDArray[np.float64], *, rounds: int = 100, seed: int = 0) -> float:
    """The mean ECE of a perfectly calibrated model on a sample of this size."""
    generator = np.random.default_rng(seed)
    confidence = probabilities.max(axis=1)
    return float(
        np.mean(
            [
                expected_calibration_error(
                    confidence, generator.random(len(confidence)) < confidence
                )
                for _ in range(rounds)
            ]
        )
    )


def reliability(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], *, bins: int = CALIBRATION_BINS
) -> list[Bin | None]:
    """The bins of a reliability diagram, None for an empty bin."""
    confidence = probabilities.max(axis=1)
    hits = probabilities.argmax(axis=1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        Bin(int(chosen.sum()), float(confidence[chosen].mean()), float(hits[chosen].mean()))
        if (chosen := index == each).any()
        else None
        for each in range(bins)
    ]


def precision_at(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], threshold: float
) -> list[PrecisionAtThreshold | None]:
    """The precision of each class at a threshold; None for a class that no face reaches."""
    result: list[PrecisionAtThreshold | None] = []
    for label in range(probabilities.shape[1]):
        chosen = probabilities[:, label] >= threshold
        precision = float((labels[chosen] == label).mean()) if chosen.any() else 0.0
        found = PrecisionAtThreshold(int(chosen.sum()), precision)
        result.append(found if chosen.any() else None)
    return result
