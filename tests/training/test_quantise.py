"""Quantisation-aware fine-tuning and quantised files."""

import copy
import importlib.util

import numpy as np
import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

import onnx
import torch
from onnx import numpy_helper

from tests.training.small_nets import SMALL_NETS, net_and_crops
from training.onnx_files import write_fp32, write_int8
from training.quantise import FakeQuantised, fine_tune_quantised


def layers(net):
    return [each for each in net.modules() if isinstance(each, torch.nn.Conv2d | torch.nn.Linear)]


def test_fine_tuned_weights_are_closer_to_the_network_than_rounded_weights(monkeypatch):
    monkeypatch.setattr("training.quantise.STEPS", 60)
    net, crops = net_and_crops(*SMALL_NETS[0])
    net, crops = net.fold(), crops.byte()
    trained, rounded = fine_tune_quantised(net, crops, side=48, seed=1), copy.deepcopy(net)
    for each, other in zip(layers(trained), layers(rounded), strict=True):
        assert torch.allclose(FakeQuantised()(each.weight), each.weight, atol=1e-6)
        other.weight.data = FakeQuantised()(other.weight)
    with torch.no_grad():
        output, expected, worse = (each(crops.float()) for each in (trained, net, rounded))
    assert (output - expected).abs().mean() < (worse - expected).abs().mean()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # from the exporter of torch
def test_int8_file_contains_the_rounded_weights(tmp_path, monkeypatch):
    """Fine-tuning and export must use the same scales."""
    monkeypatch.setattr("training.quantise.STEPS", 2)
    net, crops = net_and_crops(*SMALL_NETS[0])
    rounded = fine_tune_quantised(net.fold(), crops.byte(), side=48, seed=1)
    path = tmp_path / "model.onnx"
    write_fp32(rounded, 48, path)
    write_int8(path, crops.byte().numpy()[:, 0], path)
    tensors = {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}
    held = [
        tensors[name] * tensors[name.replace("_quantized", "_scale")][:, None, None, None]
        for name in tensors
        if name.endswith("_quantized") and tensors[name].ndim == 4
    ]
    expected = [each.weight.detach().numpy() for each in layers(rounded)[:-1]]
    assert len(held) == len(expected) == 7
    for each in expected:
        assert any(
            each.shape == other.shape and np.allclose(each, other, atol=1e-6) for other in held
        )
