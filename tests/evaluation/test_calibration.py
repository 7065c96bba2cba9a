"""Calibration on small examples and on random labels."""

import numpy as np
import pytest

from app.vision.classifier import softmax
from evaluation.calibration import (
    FOLDS,
    held_out_probabilities,
    noise_floor,
    precision_at,
    reliability,
)
from evaluation.metrics import expected_calibration_error

PROBABILITIES = np.array([[0.9, 0.1], [0.8, 0.2], [0.45, 0.55], [0.3, 0.7]])
LABELS = np.array([0, 1, 1, 1])


def test_reliability_bins_have_counts_and_means():
    bins = reliability(PROBABILITIES, LABELS, bins=2)
    assert bins[0] is None
    assert bins[1].faces == 4
    assert bins[1].mean_confidence == pytest.approx((0.9 + 0.8 + 0.55 + 0.7) / 4)
    assert bins[1].accuracy == 0.75


def test_shown_at_has_faces_and_precision():
    first, second = precision_at(PROBABILITIES, LABELS, 0.5)
    assert (first.faces, first.precision) == (2, 0.5)
    assert (second.faces, second.precision) == (2, 1.0)
    assert precision_at(PROBABILITIES, LABELS, 0.95) == [None, None]
    assert [each.faces for each in precision_at(PROBABILITIES, LABELS, 0)] == [4, 4]


def random_labels(count, temperature):
    """Random labels, and logits that are `temperature` times too large."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (count, 4))
    labels = np.array([generator.choice(4, p=row) for row in softmax(logits)])
    return (temperature * logits).astype(np.float32), labels


def test_held_out_probabilities_are_calibrated():
    logits, labels = random_labels(5000, temperature=3)
    before, after = softmax(logits), held_out_probabilities(logits, labels)

    def error(probabilities):
        hits = probabilities.argmax(axis=1) == labels
        return expected_calibration_error(probabilities.max(axis=1), hits)

    assert error(before) > 0.1
    assert error(after) < 0.02
    assert noise_floor(after) == pytest.approx(0.01, abs=0.006)
    labels[0] = (labels[0] + 1) % 4  # changes the temperature of the other folds only
    assert np.allclose(held_out_probabilities(logits, labels)[0], after[0])


def test_fold_does_not_depend_on_own_labels():
    logits, labels = random_labels(1000, temperature=3)
    before = held_out_probabilities(logits, labels)
    fold = np.random.default_rng(0).permutation(len(labels)) % FOLDS == 0
    changed = held_out_probabilities(logits, np.where(fold, (labels + 1) % 4, labels))
    assert np.array_equal(changed[fold], before[fold])
    assert not np.allclose(changed[~fold], before[~fold])
