"""Augmentation of crops."""

import importlib.util

import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

import torch

from training.augment import augment


def test_augmentation_is_bounded_seeded_and_different_for_each_crop():
    crops = torch.arange(48.0).repeat(6, 1, 48, 1) * 5
    one, again, other = (augment(crops, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one.shape == crops.shape
    assert (one >= 0).all()
    assert (one <= 255).all()
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])


def test_augmentation_without_corruption_erases_nothing():
    gray = torch.full((200, 1, 48, 48), 128.0)
    one, other = (augment(gray, torch.Generator().manual_seed(0), corruption=c) for c in (0, 1))
    spread = [(crops.amax(dim=(1, 2, 3)) - crops.amin(dim=(1, 2, 3))) for crops in (one, other)]
    assert spread[0].max() < 60  # only noise
    assert 0.05 < (spread[1] > 60).float().mean() < 0.3
