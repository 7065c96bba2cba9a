"""Import of .cfg and .weights files of Darknet, compared with a reference computation."""

import importlib.util
import json
import re
import struct

import numpy as np
import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

import onnxruntime
import torch

from app.settings import ROOT
from app.vision.install import install
from training.import_darknet import import_model, main
from training.nets.darknet import DarknetNet, read_net
from training.nets.darknet_cfg import DarknetError, parse

CFG = """
[net]
# Testing
width=64
height=64
channels=3

[convolutional]
batch_normalize=1
filters=4
size=3
stride=16
pad=1
activation=leaky

[maxpool]
size=2
stride=1

[convolutional]
filters=14
size=1
stride=1
pad=1
activation=linear

[yolo]
mask = 1,2
anchors = 1,2, 10,14, 23,27
classes=2
num=3

[route]
layers = -3

[upsample]
stride=2

[route]
layers = -1

[convolutional]
filters=14
size=1
activation=linear

[yolo]
mask = 0,1
anchors = 1,2, 10,14, 23,27
classes=2
"""
SIDE = 64


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def parts():
    """Return the numbers of each layer, in the order of a .weights file."""
    random = np.random.default_rng(3)
    first = {
        "bias": random.normal(size=4),
        "scale": random.uniform(0.5, 1.5, 4),
        "mean": random.normal(size=4),
        "variance": random.uniform(0.5, 2, 4),
        "weights": random.normal(size=(4, 3, 3, 3)),
    }
    heads = [
        {"bias": random.normal(size=14), "weights": random.normal(size=(14, 4, 1, 1))}
        for _ in range(2)
    ]
    return first, heads


def weights_file(parts, *, version=(0, 2, 0)):
    first, heads = parts
    numbers = [each.ravel() for layer in (first, *heads) for each in layer.values()]
    seen = struct.pack("<q", 640) if version[1] >= 2 else struct.pack("<i", 640)
    return struct.pack("<iii", *version) + seen + np.concatenate(numbers).astype("<f4").tobytes()


def written(folder, parts, cfg=CFG, **options):
    (folder / "tiny.cfg").write_text(cfg)
    (folder / "tiny.weights").write_bytes(weights_file(parts, **options))
    return folder / "tiny.cfg", folder / "tiny.weights"


def reference(image, parts):
    """Compute the rows of both yolo layers with NumPy, like the C source of Darknet."""
    first, heads = parts
    x = image[..., ::-1].transpose(2, 0, 1).astype(float) / 255
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::16, ::16]
    x = np.einsum("chwij,kcij->khw", windows, first["weights"])
    column = (slice(None), None, None)
    x = (x - first["mean"][column]) / (np.sqrt(first["variance"][column]) + 1e-6)
    x = x * first["scale"][column] + first["bias"][column]
    x = np.where(x > 0, x, 0.1 * x)
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1)), constant_values=-np.inf)
    x = np.max(np.lib.stride_tricks.sliding_window_view(padded, (2, 2), axis=(1, 2)), axis=(3, 4))
    rows = []
    for head, maps in zip(heads, (x, x.repeat(2, axis=1).repeat(2, axis=2)), strict=True):
        outputs = np.einsum("chw,kc->khw", maps, head["weights"][:, :, 0, 0])
        outputs = outputs + head["bias"][column]
        size = maps.shape[1]
        rows.append(outputs.reshape(2, 7, size, size).transpose(2, 3, 0, 1).reshape(-1, 7))
    return np.concatenate(rows)


@pytest.mark.parametrize("version", [(0, 1, 0), (0, 2, 0)])
def test_network_has_the_outputs_of_a_reference_computation(tmp_path, parts, version):
    net = read_net(*written(tmp_path, parts, version=version))
    image = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    outputs = net(torch.from_numpy(image).permute(2, 0, 1)[None].float())[0].detach().numpy()
    expected = reference(image, parts)
    assert outputs.shape == expected.shape == (2 * 4 * 4 + 2 * 8 * 8, 7)
    assert np.abs(outputs - expected).max() < 1e-3


def test_heads_have_strides_and_anchors_of_their_mask():
    net = DarknetNet(parse(CFG))
    assert [head.stride for head in net.heads] == [16, 8]
    assert net.heads[0].anchors == ((10.0, 14.0), (23.0, 27.0))
    assert net.heads[1].anchors == ((1.0, 2.0), (10.0, 14.0))
    assert (net.size, net.classes) == (64, 2)


def test_import_writes_weights_and_a_card_with_the_decoder(tmp_path, parts):
    (tmp_path / "labels.names").write_text("neutral\nhappiness\n")
    cfg, weights = written(tmp_path, parts)
    import_model(cfg, weights, tmp_path / "labels.names", tmp_path / "mine")
    card = json.loads((tmp_path / "mine" / "card.json").read_text())
    assert (card["kind"], card["labels"]) == ("single_shot", ["neutral", "happiness"])
    assert card["decoder"] == {
        "name": "yolov3",
        "scales": [
            {"stride": 16, "anchors": [[10.0, 14.0], [23.0, 27.0]]},
            {"stride": 8, "anchors": [[1.0, 2.0], [10.0, 14.0]]},
        ],
        "classes": "logistic",
    }
    session = onnxruntime.InferenceSession(tmp_path / "mine" / "model.onnx")
    image = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    (outputs,) = session.run(None, {"squares": image[None]})
    assert np.abs(outputs[0] - reference(image, parts)).max() < 1e-3


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("width=64", "width=96", "equal"),
        ("activation=leaky", "activation=mish", "mish is not supported"),
        ("[upsample]", "[reorg]", "reorg"),
        ("filters=14\nsize=1\nstride", "filters=15\nsize=1\nstride", "15 filters"),
        ("mask = 1,2", "mask = 1,3", "mask"),
        ("layers = -3", "layers = 9", "refers to layer 9"),
        ("[net]", "[convolutional]", "first section"),
        ("size=2", "size two", "neither a section nor a setting"),
        ("stride=16\npad", "stride=two\npad", "whole number, got two"),
        ("stride=16\npad", "stride=0\npad", "stride must be at least 1"),
        ("filters=4", "filters=-4", "filters must be at least 1"),
        ("size=3", "size=-3", "size must be at least 1"),
        ("size=2", "size=-2", "size must be at least 1"),
        ("[upsample]\nstride=2", "[upsample]\nstride=0", "stride must be at least 1"),
        ("width=64\nheight=64", "width=0\nheight=0", "width must be at least 1"),
        ("classes=2", "classes=0", "classes must be at least 1"),
        ("layers = -3", "layers =", "layers must not be empty"),
        ("layers = -3", "layers = inf", "list of whole numbers"),
        ("mask = 1,2", "mask = nan", "list of whole numbers"),
        ("classes=2", "classes=2\nscale_x_y=much", "list of numbers"),
        ("layers = -1", "layers = -1,0", "layers of equal size"),
        ("[upsample]\nstride=2", "[shortcut]\nfrom=", "from must not be empty"),
        ("[route]\nlayers = -1", "[shortcut]\nfrom = 0", "two layers of equal size"),
        ("[route]\nlayers = -1", "[shortcut]\nfrom = -1,-2", "two layers of equal size"),
    ],
)
def test_unusable_cfg_is_rejected(old, new, message):
    with pytest.raises(DarknetError, match=message):
        DarknetNet(parse(CFG.replace(old, new, 1)))


def test_weights_of_another_network_are_rejected(tmp_path, parts):
    cfg, weights = written(tmp_path, parts)
    data = weights.read_bytes()
    for other, message in (
        (data[:-4], "network has more"),
        (data + bytes(4), r"weights file has [\d,]+ numbers; the network has"),
        (data + bytes(2), "multiple of 32-bit floats"),
        (data[:10], "too short"),
        (data[:-4] + struct.pack("<f", float("nan")), "NaN"),
    ):
        weights.write_bytes(other)
        with pytest.raises(DarknetError, match=message):
            read_net(cfg, weights)


def test_number_of_labels_must_equal_the_number_of_classes(tmp_path, parts):
    (tmp_path / "labels.names").write_text("neutral\n")
    cfg, weights = written(tmp_path, parts)
    with pytest.raises(DarknetError, match="1 labels; the network has 2 classes"):
        import_model(cfg, weights, tmp_path / "labels.names", tmp_path / "mine")


@pytest.mark.parametrize(
    ("old", "new", "labels", "message"),
    [
        ("stride=16", "stride=4", "neutral happiness", "stride"),
        ("=64", "=80", "neutral happiness", "multiple of 32"),
        ("anchors = 1,", "anchors = -1,", "neutral happiness", "anchors"),
        ("[net]", "[net]", "Neutral happiness", "lower-case"),
        ("[net]", "[net]", "face_id bbox", "labels"),
    ],
)
def test_network_that_the_service_cannot_use_is_rejected(
    tmp_path, parts, old, new, labels, message
):
    (tmp_path / "labels.names").write_text(labels.replace(" ", "\n"))
    cfg, weights = written(tmp_path, parts, CFG.replace(old, new))
    with pytest.raises(DarknetError, match=f"the service cannot use this network.*{message}"):
        import_model(cfg, weights, tmp_path / "labels.names", tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


FACES_CFG = """
[net]
width=64
height=64

[convolutional]
filters=4
size=3
stride=32
pad=1
activation=leaky

[convolutional]
filters=14
size=1
activation=linear

[yolo]
mask = 0,1
anchors = 10,14, 23,27
classes=2
"""


def test_model_imported_with_the_documented_command_can_be_installed(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "own-model.md").read_text("utf-8")
    (command,) = re.findall(
        r"^ +\.venv/bin/python -m training\.import_darknet (.+)$", page, re.MULTILINE
    )
    monkeypatch.chdir(tmp_path)
    numbers = np.random.default_rng(0).normal(size=4 * 27 + 4 + 14 * 4 + 14).astype("<f4")
    (tmp_path / "faces.cfg").write_text(FACES_CFG)
    (tmp_path / "faces.weights").write_bytes(struct.pack("<iiiq", 0, 2, 0, 0) + numbers.tobytes())
    (tmp_path / "faces.names").write_text("neutral\nhappiness\n")
    monkeypatch.setattr("sys.argv", ["darknet", *command.split()])
    main()
    folder = tmp_path / command.split()[-1]
    installed = install(folder / "model.onnx", folder / "card.json", tmp_path / "models")
    assert (installed.name, installed.labels) == (folder.name, ("neutral", "happiness"))
