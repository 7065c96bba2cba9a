"""Initial weights from an exported model."""

import importlib.util

import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

import torch

from app.vision.folders import WEIGHTS_FILE
from training.detection import graph
from training.detection.warm_start import copy_weights, exported_weights, normalised_convolutions
from training.nets.single_shot import SingleShot

SMALL = {
    "widths": (4, 4, 8, 8, 8),
    "depths": (1, 1, 1, 1, 1),
    "extra": (0, 0, 0, 0, 1),
    "neck": 8,
    "expression_widths": (4, 4, 8, 8),
}


def small_net(seed, **changes):
    """Return a network whose normalisations are not the identity, as after training."""
    torch.manual_seed(seed)
    net = SingleShot(8, **(SMALL | changes))
    for _, conv, norm in normalised_convolutions(net):
        conv.weight.data *= 3
        for values in (norm.weight.data, norm.running_var):
            values.uniform_(0.5, 4)
        for values in (norm.bias.data, norm.running_mean):
            values.normal_()
    for head in net.heads:
        torch.nn.init.constant_(head[-1].bias[4:], -2.0)
    return net.eval()


def images():
    return 255 * torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def weights(tmp_path):
    graph.write(small_net(0), tmp_path / WEIGHTS_FILE)
    return exported_weights(tmp_path / WEIGHTS_FILE)


@torch.no_grad()
def test_equal_network_has_the_outputs_of_the_exported_one(weights):
    net = SingleShot(8, **SMALL)
    copied = copy_weights(net, weights, [images()[:4], images()[4:]])
    layers = [
        name
        for name, layer in net.named_modules()
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)
    ]
    assert copied == layers
    expected = small_net(0)(images())
    assert (expected[..., 5:] != 0).any()
    assert torch.allclose(net.eval()(images()), expected, atol=1e-2)


@torch.no_grad()
def test_normalisations_have_the_statistics_of_the_images(weights):
    """Training mode uses the statistics of the batch, which are equal for the same images."""
    net = SingleShot(8, **SMALL)
    copy_weights(net, weights, [images()])
    expected = net.eval().detect(images()).cells
    assert torch.allclose(net.train().detect(images()).cells, expected, atol=1e-2)


@torch.no_grad()
def test_layers_of_another_shape_keep_their_random_start(weights):
    torch.manual_seed(5)
    untouched = SingleShot(8, **(SMALL | {"neck": 16}))
    torch.manual_seed(5)
    net = SingleShot(8, **(SMALL | {"neck": 16}))
    copied = copy_weights(net, weights, [images()])
    assert "stages.4.0.mix" in copied
    assert "laterals.0.mix" not in copied
    assert torch.equal(net.laterals[0].mix.weight, untouched.laterals[0].mix.weight)
