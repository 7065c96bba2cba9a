"""Outputs of the network single_shot."""

import importlib.util
import json

import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

import torch

from app.settings import ROOT
from app.vision import cells
from training.config import read_config
from training.nets import NETS
from training.nets.single_shot import SingleShot


def test_net_returns_a_row_for_each_cell_at_any_size():
    net = NETS["single_shot"](classes=8).eval()
    with torch.no_grad():
        assert net(torch.zeros(2, 3, 64, 64)).shape == (2, 84, 13)
        assert net(torch.zeros(1, 3, 96, 96)).shape == (1, 144 + 36 + 9, 13)
    assert 100_000 < sum(p.numel() for p in net.parameters()) < 800_000


def test_rows_of_the_net_depend_on_the_pixels_near_their_cells():
    """A change in one corner of the image changes the rows of that corner."""
    torch.manual_seed(0)
    net = SingleShot(classes=8).eval()
    plain = torch.full((1, 3, 320, 320), 100.0)
    changed = plain.clone()
    changed[:, :, 280:312, 8:40] = 200
    with torch.no_grad():
        moved = (net(plain) - net(changed))[0].abs()
    centres, strides = cells.grid(320)
    for stride in cells.STRIDES:
        of_stride = strides[:, 0] == stride
        part = moved[of_stride][:, :5].sum(dim=1)
        x, y = (centres[of_stride] * (part / part.sum()).numpy()[:, None]).sum(axis=0)
        assert x < 160 < y, stride  # the coarsest cells see nearly the whole image


def test_committed_network_matches_its_config():
    config = read_config(ROOT / "training" / "configs" / "single_shot.toml")
    card = json.loads((ROOT / "models" / "single_shot" / "card.json").read_text())
    net = NETS[config.net](classes=config.classes, **config.net_options)
    assert card["weights"]["parameters"] == sum(p.numel() for p in net.parameters())
    assert card["weights"]["bytes"] < 4_000_000
