"""Whether a probability can be taken at its word."""

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
    """Faces whose top probability lies in one of the equal-width bins."""

    faces: int
    mean_confidence: float
    accuracy: float


@dataclass(frozen=True)
class Shown:
    """Faces shown as a class at a threshold: how many, and the share that is that class."""

    faces: int
    precision: float


def held_out_probabilities(
    logits: NDArray[np.float32], labels: NDArray[np.int64], *, folds: int = FOLDS, seed: int = 0
) -> NDArray[np.float64]:
    """Probabilities (n, classes), those of each fold with the temperature fitted on the others:
    no label has a part in its own calibration."""
    fold = np.random.default_rng(seed).permutation(len(labels)) % folds
    probabilities = np.empty(logits.shape)
    for held_out in range(folds):
        mine = fold == held_out
        temperature = fit_temperature(logits[~mine], labels[~mine])
        probabilities[mine] = softmax(logits[mine], temperature=temperature)
    return probabilities


def noise_floor(probabilities: NDArray[np.float64], *, rounds: int = 100, seed: int = 0) -> float:
    """The mean ECE that a perfectly calibrated model shows on so many faces, by chance alone."""
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
    """The bins of a reliability diagram, None where one is empty."""
    confidence = probabilities.max(axis=1)
    hits = probabilities.argmax(axis=1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        Bin(int(mine.sum()), float(confidence[mine].mean()), float(hits[mine].mean()))
        if (mine := index == each).any()
        else None
        for each in range(bins)
    ]


def shown_at(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], threshold: float
) -> list[Shown | None]:
    """For each class: of the faces whose probability of it reaches `threshold`, the share that
    is of that class. None where no face reaches it."""
    shown = []
    for label in range(probabilities.shape[1]):
        mine = probabilities[:, label] >= threshold
        share = float((labels[mine] == label).mean()) if mine.any() else 0.0
        shown.append(Shown(int(mine.sum()), share) if mine.any() else None)
    return shown
