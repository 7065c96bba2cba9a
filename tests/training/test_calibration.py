"""Calibration of logits."""

import importlib.util

import numpy as np
import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

from training.calibration import fit_logistic, fit_temperature


def test_fit_temperature_finds_the_scale():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (20_000, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([generator.choice(4, p=row) for row in probabilities])
    assert fit_temperature(logits * 3, labels) == pytest.approx(3, rel=0.05)


def test_fit_logistic_calibrates_scores():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, 20_000)
    hits = generator.random(20_000) < 1 / (1 + np.exp(-(1.5 * logits - 0.7)))
    assert fit_logistic(logits, hits) == pytest.approx((1.5, -0.7), abs=0.06)


def test_fit_logistic_is_finite_if_all_detections_are_correct():
    scale, bias = fit_logistic(np.array([1.0, 2.0, 3.0]), np.ones(3, dtype=bool))
    assert scale > 0
    assert np.isfinite([scale, bias]).all()
