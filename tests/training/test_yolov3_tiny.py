"""The network YOLOv3-tiny: layers as published, order of rows, and training."""

import importlib.util
import math

import numpy as np
import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

import torch

from app.settings import ROOT
from tests.training.yolo_rows import (
    COARSE_ROWS,
    ROW,
    ROWS,
    SIDE,
)
from training.config import read_config
from training.detection.losses import GroundTruth
from training.detection.yolo import ANCHORS, anchors_of, find, losses
from training.nets.yolov3_tiny import YoloV3Tiny


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def test_layers_are_those_of_the_paper():
    net = YoloV3Tiny(classes=7).eval()
    shapes = {torch.nn.Conv2d: [], torch.nn.MaxPool2d: []}
    for module in net.modules():
        if type(module) in shapes:
            module.register_forward_hook(
                lambda module, _, output: shapes[type(module)].append(tuple(output.shape[1:]))
            )
    with torch.no_grad():
        outputs = net(torch.zeros(1, 3, 416, 416))
    assert outputs.shape == (1, 3 * (13 * 13 + 26 * 26), 5 + 7) == (1, 2535, 12)
    convolutions = [
        *[(16, 416), (32, 208), (64, 104), (128, 52), (256, 26), (512, 13), (1024, 13)],
        *[(256, 13), (512, 13), (36, 13)],
        *[(128, 13), (256, 26), (36, 26)],
    ]
    assert shapes[torch.nn.Conv2d] == [(width, side, side) for width, side in convolutions]
    pools = [(16, 208), (32, 104), (64, 52), (128, 26), (256, 13), (512, 13)]
    assert shapes[torch.nn.MaxPool2d] == [(width, side, side) for width, side in pools]


def test_number_of_weights_equals_darknet():
    """yolov3-tiny.weights, for the 80 classes of COCO, has 35,434,956 bytes.

    It consists of a header of 20 bytes, and parameters, means and variances as 32-bit floats.
    """
    net = YoloV3Tiny(classes=80)
    floats = [each for each in net.state_dict().values() if each.is_floating_point()]
    assert 20 + 4 * sum(each.numel() for each in floats) == 35_434_956


def test_all_layers_except_the_heads_have_batch_norm_and_leaky_relu():
    net = YoloV3Tiny(classes=7)
    slopes = [m.negative_slope for m in net.modules() if isinstance(m, torch.nn.LeakyReLU)]
    assert slopes == [0.1] * 11
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules()) == 11
    biases = [m.bias for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert sum(bias is not None for bias in biases) == 2


def test_first_layer_gets_values_up_to_1():
    net = YoloV3Tiny(classes=7)
    seen = []
    net.fine.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net(torch.full((2, 3, 32, 64), 255.0))
    assert torch.equal(seen[0], torch.ones(2, 3, 32, 64))


def test_pool_of_stride_1_looks_right_and_down():
    pad_and_pool = YoloV3Tiny(classes=1).coarse[2:4]
    pooled = pad_and_pool(torch.arange(1.0, 10.0).view(1, 1, 3, 3))
    assert pooled.tolist() == [[[[5, 6, 6], [8, 9, 9], [8, 9, 9]]]]


def test_initial_objectness_is_low():
    net = YoloV3Tiny(classes=8)
    biases = torch.stack([head[-1].bias.view(3, 13) for head in (net.head_32, net.head_16)])
    assert torch.allclose(biases[..., 4].sigmoid(), torch.tensor(0.01))
    assert biases[..., [0, 1, 2, 3, 5]].abs().max() < 0.1


class Coded(torch.nn.Module):
    """A head whose output encodes rows position.

    Thousands are the channel, tens the line, ones the column. At stride 16, 0.5 is added.
    """

    def forward(self, x):
        lines, columns = x.shape[2:]
        channel = torch.arange(39.0).view(39, 1, 1) * 1000
        where = channel + torch.arange(lines).view(-1, 1) * 10 + torch.arange(columns)
        return (where + (0.5 if lines == 4 else 0)).expand(len(x), -1, -1, -1)


def test_rows_are_in_the_order_of_the_anchors():
    net = YoloV3Tiny(classes=8)
    net.head_32, net.head_16 = Coded(), Coded()
    outputs = net(torch.zeros(2, 3, SIDE, SIDE))[1]
    priors = anchors_of(SIDE)
    assert outputs.shape == (ROWS, 13)
    for row, (stride, line, column, anchor) in {
        0: (32, 0, 0, 0),
        5: (32, 0, 1, 2),
        6: (32, 1, 0, 0),
        COARSE_ROWS: (16, 0, 0, 0),
        ROW: (16, 2, 3, 1),
        ROWS - 1: (16, 3, 3, 2),
    }.items():
        code = line * 10 + column + (0.5 if stride == 16 else 0)
        assert outputs[row].tolist() == [1000 * (13 * anchor + k) + code for k in range(13)]
        assert priors.corners[row].tolist() == [column, line]
        assert priors.strides[row].tolist() == [stride]
        assert priors.sizes[row].tolist() == list(ANCHORS[stride == 16][anchor])


def test_gradients_are_finite_without_faces():
    net = YoloV3Tiny(classes=2)
    outputs = net(torch.rand(2, 3, SIDE, SIDE) * 255)
    no_faces = torch.zeros(2, 1, dtype=torch.bool)
    result = losses(
        outputs, GroundTruth(torch.zeros(2, 1, 4), no_faces, no_faces, torch.zeros(2, 1, 2)), SIDE
    )
    assert result.box.item() == result.expression.item() == 0
    assert result.objectness.item() == pytest.approx(
        torch.nn.functional.softplus(outputs[..., 4]).sum().item(), rel=1e-5
    )
    result.total(1.0).backward()
    assert all(torch.isfinite(each.grad).all() for each in net.parameters())
    assert any(each.grad.any() for each in net.parameters())


def test_net_overfits_two_images():
    """The first image has a bright block of class 0, the second a dark one of class 1."""
    torch.manual_seed(0)
    images = torch.full((2, 3, SIDE, SIDE), 128.0)
    images[0, :, 10:34, 20:40] = 250
    images[1, :, 28:64, 24:54] = 5
    boxes = torch.tensor([[[20.0, 10, 40, 34]], [[24.0, 28, 54, 64]]])
    real = torch.ones(2, 1, dtype=torch.bool)
    truth = GroundTruth(boxes, real, real, torch.eye(2)[:, None])
    net = YoloV3Tiny(classes=2)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.0, betas=(0.9, 0.99), fused=True)
    history = []
    for step in range(40):
        # Without a warm-up, boxes grow immediately to sizes at which their loss is flat.
        warmup, cosine = min(1, (step + 1) / 10), 0.5 + 0.5 * math.cos(math.pi * step / 40)
        optimizer.param_groups[0]["lr"] = 2e-4 * warmup * cosine
        outputs = net(images)
        loss = losses(outputs, truth, SIDE).total(1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.2 * history[0]
    for number, rows in enumerate(outputs.detach().numpy()):
        found, _, names = find(rows, SIDE, min_logit=0.0, nms_iou=0.45)
        assert len(found) == 1
        assert np.abs(found[0] - boxes[number, 0].numpy()).max() < 4
        assert names[0].argmax() == number


def test_config_can_be_read():
    config = read_config(ROOT / "training" / "configs" / "yolov3_tiny.toml")
    assert (config.name, config.net, config.task) == ("yolov3_tiny", "yolov3_tiny", "packed_scenes")
    assert config.input_size == 416
