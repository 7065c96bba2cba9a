"""Training, validation and export of single-shot networks on generated scenes."""

import importlib.util
import json
import math
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

import torch

from app.vision import cells
from app.vision.single_shot import SingleShotNet
from tests.conftest import LABELS
from tests.training.grid_64 import FACE, SIDE, outputs_for
from training.config import TrainingError, read_config
from training.data.annotated_images import AnnotatedImage
from training.detection.data import collate, load_scenes
from training.detection.validation import (
    detections,
    matched_expressions,
    matches_by_image,
    predictor,
)
from training.export import write_models
from training.train import Run


def test_collate_pads_to_the_largest_number_of_faces():
    image = np.zeros((32, 32, 3), np.uint8)
    image[0, 1] = 1, 2, 3
    one = AnnotatedImage(
        image,
        np.array([[1, 2, 3, 4]], np.float32),
        np.array([False]),
        np.eye(8, dtype=np.float32)[:1],
    )
    none = AnnotatedImage(
        image, np.zeros((0, 4), np.float32), np.zeros(0, bool), np.zeros((0, 8), "f4")
    )
    images, truth = collate([none, one])
    assert images.shape == (2, 3, 32, 32)
    assert images[0, :, 0, 1].tolist() == [1, 2, 3]
    assert truth.valid.tolist() == [[False], [True]]
    assert truth.sure.tolist() == [[False], [False]]
    assert truth.boxes[1, 0].tolist() == [1, 2, 3, 4]
    assert truth.targets[1, 0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_detections_are_matched_with_faces_and_expressions():
    image = AnnotatedImage(
        np.zeros((64, 64, 3), np.uint8),
        np.array([[16, 16, 48, 48], [0, 0, 10, 10]], np.float32),
        np.array([True, True]),
        np.eye(8, dtype=np.float32)[[3, 4]],
    )
    outputs = outputs_for(FACE, names=torch.eye(8)[3]).numpy()[0]
    outputs[70, 4] = 2
    found = detections(lambda squares: outputs[None], [image], SIDE, cells.find)
    ((detection, _),) = found[0]
    assert detection.box.xyxy == pytest.approx(FACE, abs=1e-3)
    assert detection.score == pytest.approx(1 / (1 + math.exp(-2)))
    (counted,) = matches_by_image(found, [image])
    assert counted.hits.tolist() == [True]
    assert counted.found.tolist() == [True]  # the other face is too small to count
    (first, label), missed = matched_expressions(found, [image])
    assert (first.argmax(), label) == (3, 3)
    assert missed == (None, 4)


CONFIG = """
name = "tiny"
task = "scenes"
net = "single_shot"
classes = 8
input_size = 64
minutes = 5
epochs = {epochs}
scenes = 64
batch_size = 8
learning_rate = 5e-3
betas = [0.9, 0.99]
weight_decay = 0.01
warmup_epochs = 0.5
ema_decay = 0.9
seed = 3
[net_options]
widths = [8, 8, 16, 16, 16]
depths = [1, 1, 1, 1, 1]
extra = [0, 0, 0, 0, 0]
neck = 16
neck_extra = 0
expression_widths = [8, 8, 16, 16]
[export]
"models/tiny" = "fp32"
[card]
version = "0.0.1"
sizes = [64, 96]
machine = "a test"
licence = "none"
intended_use = "tests"
out_of_scope = "all else"
limits = "generated faces"
"""


def face(generator, side, label):
    """Draw a face: a bright disc with a dark mouth, high or low."""
    image = generator.integers(0, 40, (side, side)).astype(np.uint8)
    cv2.circle(image, (side // 2, side // 2), side // 2 - 1, 220, -1)
    y = side // 3 if label == "happiness" else 2 * side // 3
    cv2.rectangle(image, (side // 4, y - 1), (3 * side // 4, y + side // 10), 20, -1)
    return image


def write_photos(folder):
    """Write photographs and portraits with generated faces for both splits."""
    generator = np.random.default_rng(0)
    images, faces = [], []
    for split in ("train", "val"):
        for index in range(6):
            for collection in ("natural", "crowds", "lfw-expressions"):
                name = f"{collection}/{split}{index}.png"
                label = ("happiness", "sadness")[index % 2]
                image = generator.integers(0, 60, (80, 100, 3)).astype(np.uint8)
                box = ""
                if index or collection != "natural":
                    x, y, side = map(int, generator.integers((0, 0, 24), (60, 40, 40)))
                    image[y : y + side, x : x + side] = face(generator, side, label)[..., None]
                    emotion = label if collection == "lfw-expressions" else ""
                    box = f"{name},{x},{y},{x + side},{y + side},sure,human,{emotion},"
                (folder / collection).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / name), image)
                images.append(f"{name},100,80,{int(bool(box))},{split}")
                faces += [box] if box else []
    head = "image,x1,y1,x2,y2,label,source,expression,condition"
    (folder / "faces.csv").write_text("\n".join([head, *faces]))
    (folder / "images.csv").write_text("\n".join(["image,width,height,sure_faces,split", *images]))


def write_faces(folder, seed):
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    lines = []
    for index in range(24):
        label = ("happiness", "sadness")[index % 2]
        cv2.imwrite(str(folder / f"{index}.png"), face(generator, 48, label))
        votes = "0,10,0,0,0,0,0,0,0,0" if label == "happiness" else "0,0,0,10,0,0,0,0,0,0"
        lines.append(f'{index}.png,"(0, 0, 48, 48)",{votes}')
    (folder / "label.csv").write_text("\n".join(lines))


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    write_photos(tmp_path / "data" / "photos")
    write_faces(tmp_path / "data" / "ferplus" / "FER2013Train", 1)
    write_faces(tmp_path / "data" / "ferplus" / "FER2013Valid", 2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("training.detection.validation.VALIDATION_SCENES", 20)
    torch.set_num_threads(1)
    return tmp_path


def make_run(workplace, *, epochs=2, **changes):
    (workplace / "tiny.toml").write_text(CONFIG.format(epochs=epochs))
    config = replace(read_config(workplace / "tiny.toml"), **changes)
    data = load_scenes(workplace / "data", config, True)
    return Run(config, data, workplace / "runs" / config.name)


def test_fit_learns_to_detect_generated_faces(workplace):
    run = make_run(workplace, epochs=16)
    run.fit()
    assert run.history[-1]["loss"] < run.history[0]["loss"] / 2
    assert run.history[-1]["validation_ap"] > 0.5
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"checkpoint.pt", "curve.png", "log.csv"}


def test_scene_size_follows_the_schedule(workplace):
    run = make_run(workplace, sizes=[[0.5, 32]], epochs=2)
    sides = []
    for epoch in range(2):
        run.epoch = epoch
        sides.append([batch.shape[-1] for batch, _ in run.data.batches(run)])
    assert sides == [[32] * 8, [64] * 8]


def test_resumed_run_equals_an_uninterrupted_run(workplace):
    uninterrupted = make_run(workplace)
    uninterrupted.fit()
    shutil.rmtree(uninterrupted.folder)
    make_run(workplace).fit_epoch()
    resumed = make_run(workplace)
    assert resumed.resume()
    resumed.fit()
    for row, expected in zip(resumed.history, uninterrupted.history, strict=True):
        assert row | {"minutes": 0} == expected | {"minutes": 0}
    state = uninterrupted.average.state_dict()
    for name, tensor in resumed.average.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_exported_network_matches_pytorch(workplace):
    run = make_run(workplace, epochs=8)
    run.fit()
    (folder,) = write_models(workplace / "tiny.toml", workplace / "data")
    card = json.loads((folder / "card.json").read_text())
    assert card["labels"] == list(LABELS)
    assert card["input"]["sizes"] == [64, 96]
    assert card["training"]["settings"]["scenes"] == 64
    served, expected = SingleShotNet.load(folder), predictor(run.average.module)
    for side in (64, 96):
        squares = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
        assert np.allclose(served.predict(squares), expected(squares), atol=2e-3)


def test_net_without_detections_is_not_exported(workplace):
    make_run(workplace).fit_epoch()
    with pytest.raises(TrainingError, match="train longer"):
        write_models(workplace / "tiny.toml", workplace / "data")
    assert not (workplace / "models" / "tiny").exists()


def test_net_that_differs_from_pytorch_is_not_exported(workplace, monkeypatch):
    make_run(workplace).fit_epoch()
    monkeypatch.setattr("training.detection.export.predictor", lambda net: lambda squares: 1.0)
    with pytest.raises(TrainingError, match="differs from PyTorch"):
        write_models(workplace / "tiny.toml", workplace / "data")
    assert not (workplace / "models" / "tiny").exists()
