"""RoiAlign and the graph of single_shot, compared with ONNX Runtime."""

import importlib.util

import numpy as np
import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper

from training.detection import graph
from training.detection.regions import SAMPLES, align, squares
from training.nets.single_shot import SingleShot


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def roi_align(features, boxes, scenes, size, stride):
    """Compute RoiAlign with ONNX Runtime."""
    node = helper.make_node(
        "RoiAlign",
        ["features", "boxes", "scenes"],
        ["regions"],
        mode="avg",
        output_height=size,
        output_width=size,
        sampling_ratio=SAMPLES,
        spatial_scale=1 / stride,
        coordinate_transformation_mode="half_pixel",
    )
    graph_of_node = helper.make_graph(
        [node],
        "regions",
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, [None] * 4),
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [None, 4]),
            helper.make_tensor_value_info("scenes", TensorProto.INT64, [None]),
        ],
        [helper.make_tensor_value_info("regions", TensorProto.FLOAT, [None] * 4)],
    )
    model = helper.make_model(
        graph_of_node, opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    inputs = {"features": features, "boxes": boxes, "scenes": scenes}
    return session.run(None, {key: value.numpy() for key, value in inputs.items()})[0]


def test_align_equals_roi_align_of_onnx_runtime():
    torch.manual_seed(0)
    features = torch.randn(2, 3, 20, 24)
    boxes = torch.tensor(
        [[8.0, 8, 60, 60], [-20, -10, 30, 40], [70, 50, 140, 120], [10, 10, 14, 15]]
    )
    scenes = torch.tensor([0, 1, 1, 0])
    expected = roi_align(features, boxes, scenes, 5, 4)
    assert np.abs(align(features, scenes, boxes, 5, 4).numpy() - expected).max() < 1e-5


def test_squares_are_around_the_centre():
    assert squares(torch.tensor([[10.0, 20, 30, 60]]), 1.5).tolist() == [[-10, 10, 50, 70]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(1)
    net = SingleShot(8).eval()
    for head in net.heads:
        torch.nn.init.normal_(head[-1].weight, std=0.3)
        torch.nn.init.constant_(head[-1].bias[4:], -2.0)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    graph.write(net, path)
    return net, onnxruntime.InferenceSession(path), path


@pytest.mark.parametrize("side", [128, 192])
@pytest.mark.parametrize("count", [1, 2])
def test_graph_has_the_outputs_of_the_network(exported, side, count):
    net, session, _ = exported
    image = np.random.default_rng(side).integers(0, 256, (count, side, side, 3), np.uint8)
    (served,) = session.run(None, {"squares": image})
    with torch.no_grad():
        expected = net(torch.from_numpy(image).permute(0, 3, 1, 2).float()).numpy()
    assert served.shape == expected.shape
    assert (expected[..., 5:] != 0).any()
    assert np.abs(served - expected).max() < 1e-3


def test_the_file_has_no_stack_traces(exported):
    _, _, path = exported
    assert b"stack_trace" not in path.read_bytes()


def test_graph_has_outputs_without_faces(exported):
    _, _, path = exported
    model = onnx.load(path)
    for each in model.graph.initializer:
        if each.name == "least_logit":
            each.CopyFrom(onnx.numpy_helper.from_array(np.array([1e6], np.float32), each.name))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (outputs,) = session.run(None, {"squares": np.zeros((1, 128, 128, 3), np.uint8)})
    assert (outputs[..., 5:] == 0).all()
