"""The served YOLOv3-tiny gives the results of PyTorch."""

import importlib.util
import json

import numpy as np
import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

import torch

from app.vision.install import install
from app.vision.single_shot import NMS_IOU, SingleShotNet
from tests.graphs import single_shot_document
from training.detection import yolo
from training.nets.yolov3_tiny import YoloV3Tiny
from training.onnx_files import write_any_side

SIDES = (96, 128)


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """A network with random weights in PyTorch, and the installed model of its exported file."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = YoloV3Tiny(classes=8).eval()
    with torch.no_grad():
        for head in (net.head_32, net.head_16):
            head[-1].weight *= 100  # so that rows differ
            head[-1].bias.view(3, -1)[:, 4] = 0
    folder = tmp_path_factory.mktemp("yolo")
    write_any_side(net, folder / "tiny.onnx")
    card = single_shot_document("tiny") | {
        "input": {"sizes": [*SIDES]},
        "decoder": yolo.decoder(),
    }
    del card["weights"]
    (folder / "card.json").write_text(json.dumps(card))
    install(folder / "tiny.onnx", folder / "card.json", folder / "models")
    yield net, SingleShotNet.load(folder / "models" / "tiny")
    torch.set_num_threads(threads)  # the results of other tests depend on it


@pytest.fixture(params=SIDES)
def both(nets, request):
    """The side, and the outputs of PyTorch and of the served network for two images of noise."""
    net, served = nets
    squares = np.random.default_rng(1).integers(0, 256, (2, request.param, request.param, 3))
    squares = squares.astype(np.uint8)
    with torch.no_grad():
        expected = net(torch.from_numpy(squares).permute(0, 3, 1, 2).float())
    return request.param, expected, served.predict(squares)


def test_exported_network_returns_the_rows_of_pytorch(both):
    _, expected, outputs = both
    assert expected[..., 4].std() > 0.1
    assert np.abs(outputs - expected.numpy()).max() < 2e-3


def test_rows_are_decoded_to_the_same_boxes(nets, both):
    side, expected, outputs = both
    decoder = nets[1].card.decoder
    for served_row, row in zip(outputs, expected, strict=True):
        boxes = yolo.decode(row, side).numpy()
        assert np.allclose(decoder.decode(served_row, side), boxes, rtol=1e-3, atol=0.1)


def test_the_same_faces_are_found(nets, both):
    side, expected, outputs = both
    decoder = nets[1].card.decoder
    for served_row, row in zip(outputs, expected.numpy(), strict=True):
        expected_faces = yolo.find(row, side, min_logit=0.0, nms_iou=NMS_IOU)
        found = decoder.find(row, side, min_logit=0.0, nms_iou=NMS_IOU)
        assert len(expected_faces[0]) > 3
        for from_pytorch, from_service in zip(expected_faces, found, strict=True):
            assert np.allclose(from_pytorch, from_service, rtol=1e-4, atol=1e-2)
        assert served_row.shape == row.shape
