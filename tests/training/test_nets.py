"""Small classifiers: folding, mirrored faces and layers."""

import importlib.util

import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

import torch

from tests.training.small_nets import SMALL_NETS, net_and_crops
from training.nets import NETS
from training.nets.paired import PairedNorm


@pytest.mark.parametrize(("net", "options", "side"), SMALL_NETS)
def test_folded_net_returns_the_same_output(net, options, side):
    net, crops = net_and_crops(net, options, side)
    with torch.no_grad():
        expected = net(crops)
        folded = net.fold()
        assert torch.allclose(folded(crops), expected, atol=1e-4)
    assert not [m for m in folded.modules() if isinstance(m, PairedNorm)]


def test_vgg13_has_the_layers_of_the_paper():
    """Ten convolutions, two dense layers (as convolutions) and 8.7 million parameters.

    In training, images may have any side.
    """
    net = NETS["vgg13"](classes=8).fold()
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [conv.kernel_size[0] for conv in convolutions] == 10 * [3] + [4, 1]
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(8.76e6, rel=0.01)
    with torch.no_grad():
        for side in (32, 48, 64):
            assert net(torch.rand(2, 1, side, side) * 255).shape == (2, 8)


@pytest.mark.parametrize(("net", "options", "side"), SMALL_NETS)
def test_mirrored_face_gets_the_same_output(net, options, side):
    net, crops = net_and_crops(net, options, side)
    with torch.no_grad():
        output = net(crops)
        assert torch.allclose(output, net(crops.flip(3)), atol=1e-4)
        upside_down = net(crops.flip(2))
        assert (output - upside_down).abs().max() > 0.01
