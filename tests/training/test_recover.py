"""Recovering the weights of a net from an exported model."""

import importlib.util
import os

import pytest

if importlib.util.find_spec("torch") is None:
    if os.environ.get("CI"):
        raise RuntimeError("torch is not installed")
    pytest.skip("torch is not installed: training needs it", allow_module_level=True)

import torch

from app.vision.folders import WEIGHTS_FILE
from training.config import TrainingError
from training.nets.single_shot import SingleShot
from training.onnx_files import write_any_side
from training.recover import exported, normed, unfold

SMALL = {"widths": (4, 4, 8, 8, 8), "depths": (1, 1, 1, 1, 1), "neck": 8, "tower": 8}


def small_net(seed):
    """A net with norms as after training: none is the identity."""
    torch.manual_seed(seed)
    net = SingleShot(8, **SMALL)
    for _, conv, norm in normed(net):
        conv.weight.data *= 3
        for values in (norm.weight.data, norm.running_var):
            values.uniform_(0.5, 4)
        for values in (norm.bias.data, norm.running_mean):
            values.normal_()
    return net.eval()


@pytest.fixture
def weights(tmp_path):
    write_any_side(small_net(0), tmp_path / WEIGHTS_FILE)
    return exported(tmp_path / WEIGHTS_FILE)


@torch.no_grad()
def test_recovered_net_matches_the_export_in_evaluation_and_training(weights):
    pictures = 255 * torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    recovered = SingleShot(8, **SMALL)
    unfold(recovered, weights, [pictures[:4], pictures[4:]])
    answers = recovered.eval()(pictures)
    assert torch.allclose(answers, small_net(0)(pictures), atol=1e-4)
    # In training a batch is normalised by its own statistics: the same, where it is what the
    # statistics were taken of.
    assert torch.allclose(recovered.train()(pictures), answers, atol=1e-2)


def test_weights_of_another_net_are_rejected(weights):
    with pytest.raises(TrainingError, match="another net"):
        unfold(SingleShot(8, **(SMALL | {"neck": 16})), weights, [])
    for name in ("stem.0.weight", "stem.0.weight_bias"):
        less = {key: value for key, value in weights.items() if key != name}
        with pytest.raises(TrainingError, match="another net"):
            unfold(SingleShot(8, **SMALL), less, [])
