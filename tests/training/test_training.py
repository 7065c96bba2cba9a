"""Training on a handful of made faces: it learns, resumes, exports, and says what is wrong."""

import importlib.util
import json
import os

import numpy as np
import pytest
from PIL import Image

from app.settings import ROOT
from tests.conftest import SHARED, need

pytestmark = pytest.mark.torch

if importlib.util.find_spec("torch") is None:
    if os.environ.get("CI") == "true":
        raise RuntimeError("CI must have torch: make train-env")
    pytest.skip("torch is not installed (make train-env)", allow_module_level=True)

import torch

from app.vision.card import read_card
from app.vision.classifier import Classifier
from training import ferplus
from training.augment import augment
from training.export import assert_parity, fit_temperature, write_model
from training.nets import NETS
from training.train import Run, TrainingError, load_data, read_checkpoint, read_config

EPOCHS = 16
CONFIG = """
name = "tiny"
net = "custom_net"
input_size = 48
minutes = 10
epochs = {epochs}
batch_size = 8
learning_rate = 3e-3
betas = [0.9, 0.99]
weight_decay = 0.05
warmup_epochs = 1
ema_decay = 0.9
seed = 3
[net_options]
widths = [8, 8, 8, 8]
depths = [2, 1, 1, 1]
[card]
version = "0.0.1"
crop_scale = 1.0
licence = "none"
intended_use = "tests"
out_of_scope = "all else"
limits = "made faces"
"""


def write_faces(folder, count, seed):
    """Bright-above-dark is happiness, dark-above-bright is sadness; with noise."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    lines = []
    for index in range(count):
        happy = index % 2 == 0
        gray = generator.integers(0, 60, (48, 48))
        gray[: 24 if happy else 48, :] += 90
        gray[: 0 if happy else 24, :] -= 90
        name = f"{index:04}.png"
        Image.fromarray(np.clip(gray, 0, 255).astype(np.uint8)).save(folder / name)
        votes = [0, 10, 0, 0, 0, 0, 0, 0, 0, 0] if happy else [0, 0, 0, 10, 0, 0, 0, 0, 0, 0]
        lines.append(f'{name},"(0, 0, 48, 48)",{",".join(map(str, votes))}')
    (folder / "label.csv").write_text("\n".join(lines))


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    write_faces(tmp_path / "data" / "FER2013Train", 64, seed=1)
    write_faces(tmp_path / "data" / "FER2013Valid", 32, seed=2)
    (tmp_path / "tiny.toml").write_text(CONFIG.format(epochs=EPOCHS))
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return tmp_path


def make_run(workplace):
    config = read_config(workplace / "tiny.toml")
    return Run(config, load_data(workplace / "data", 48), workplace / "runs" / "tiny")


def test_it_learns_and_leaves_a_log_a_curve_and_a_checkpoint(workplace):
    run = make_run(workplace)
    run.fit()
    assert run.history[-1]["validation_accuracy"] > 0.9
    assert run.history[-1]["loss"] < run.history[0]["loss"]
    files = {path.name for path in run.folder.iterdir()}
    assert files == {"checkpoint.pt", "log.csv", "curve.png"}
    assert len((run.folder / "log.csv").read_text().splitlines()) == 1 + EPOCHS
    with Image.open(run.folder / "curve.png") as curve:
        assert curve.size[0] > 300


def test_an_interrupted_run_ends_as_one_that_was_not(workplace):
    whole = make_run(workplace)
    whole.folder = workplace / "runs" / "whole"
    whole.fit()
    first = make_run(workplace)
    for _ in range(2):
        first.fit_epoch()
    second = make_run(workplace)
    assert second.resume()
    assert second.epoch == 2
    second.fit()
    expected, got = whole.average.state_dict(), second.average.state_dict()
    assert all(
        torch.allclose(got[key].float(), expected[key].float(), atol=1e-6) for key in expected
    )


def test_a_checkpoint_of_other_settings_is_refused(workplace):
    run = make_run(workplace)
    run.fit_epoch()
    (workplace / "tiny.toml").write_text(CONFIG.format(epochs=EPOCHS + 1))
    with pytest.raises(TrainingError, match="other settings"):
        make_run(workplace).resume()


def test_a_half_written_checkpoint_is_refused(workplace):
    run = make_run(workplace)
    run.fit_epoch()
    path = run.folder / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="not a whole checkpoint"):
        read_checkpoint(path)


def test_an_interruption_while_saving_leaves_the_last_checkpoint(workplace, monkeypatch):
    run = make_run(workplace)
    run.fit_epoch()

    def fail(_state, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        run.save()
    assert read_checkpoint(run.folder / "checkpoint.pt")["epoch"] == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = ", "config"),
        ('name = "x"', "missing"),
        (CONFIG.format(epochs=1) + "[more]\n", "more"),
    ],
)
def test_a_wrong_config_is_explained(workplace, text, complaint):
    (workplace / "wrong.toml").write_text(text)
    with pytest.raises(TrainingError, match=complaint):
        read_config(workplace / "wrong.toml")


def test_an_unknown_net_is_answered_with_the_known(workplace):
    text = CONFIG.format(epochs=1).replace('net = "custom_net"', 'net = "huge"')
    (workplace / "tiny.toml").write_text(text)
    with pytest.raises(TrainingError, match="custom_net"):
        make_run(workplace)


def test_pictures_of_validation_are_not_trained_on(workplace):
    train, valid = workplace / "data" / "FER2013Train", workplace / "data" / "FER2013Valid"
    (train / "0000.png").write_bytes((valid / "0006.png").read_bytes())
    (train / "0002.png").write_bytes((train / "0004.png").read_bytes())
    data = load_data(workplace / "data", 48)
    assert len(data.crops) == 64 - 2
    assert len(data.validation_crops) == 32


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's exporter, of torch itself
def test_the_exported_model_answers_as_pytorch_does(workplace):
    run = make_run(workplace)
    run.fit()
    folder = write_model(workplace / "tiny.toml", workplace / "data", workplace / "models")
    card = read_card(folder)
    assert card.labels == ferplus.LABELS
    assert card.document["training"]["pictures"] == 64
    classifier = Classifier.load(folder)
    crops = run.data.validation_crops.numpy()[:, 0]
    net = run.average.module
    assert assert_parity(net, classifier, crops) < 2e-3
    with torch.no_grad():
        next(net.parameters()).mul_(1.5)
    with pytest.raises(TrainingError, match="differs"):
        assert_parity(net, classifier, crops)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's exporter, of torch itself
def test_a_failed_export_leaves_the_model_that_was_there(workplace, monkeypatch):
    make_run(workplace).fit_epoch()
    write_model(workplace / "tiny.toml", workplace / "data", workplace / "models")
    before = (workplace / "models" / "tiny" / "model.onnx").read_bytes()
    monkeypatch.setattr("training.export.PARITY", -1.0)
    with pytest.raises(TrainingError, match="differs"):
        write_model(workplace / "tiny.toml", workplace / "data", workplace / "models")
    assert [folder.name for folder in (workplace / "models").iterdir()] == ["tiny"]
    assert (workplace / "models" / "tiny" / "model.onnx").read_bytes() == before


def test_nothing_is_exported_before_training(workplace):
    with pytest.raises(TrainingError, match="train first"):
        write_model(workplace / "tiny.toml", workplace / "data", workplace / "models")


def test_folding_keeps_the_answer():
    torch.manual_seed(0)
    net = NETS["custom_net"](classes=8, widths=(8, 8, 16, 16), depths=(2, 2, 1, 2))
    crops = torch.rand(16, 1, 48, 48) * 255
    for _ in range(3):  # move the running statistics off their start
        net(crops)
    net.eval()
    with torch.no_grad():
        expected = net(crops)
        folded = net.fold()
        assert torch.allclose(folded(crops), expected, atol=1e-4)
    assert not [m for m in folded.modules() if isinstance(m, torch.nn.BatchNorm2d)]


def test_temperature_is_found():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (20_000, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([generator.choice(4, p=row) for row in probabilities])
    assert fit_temperature(logits * 3, labels) == pytest.approx(3, rel=0.05)


def test_augmentation_is_bounded_seeded_and_different_for_each():
    crops = torch.arange(48.0).repeat(6, 1, 48, 1) * 5
    one, again, other = (augment(crops, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one.shape == crops.shape
    assert (one >= 0).all()
    assert (one <= 255).all()
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])


def test_real_validation_pictures_are_those_of_the_protocol():
    need(SHARED.is_dir(), "no research data at ../shared")
    split = ferplus.read_split(SHARED / "data" / "ferplus" / "FER2013Valid.zip", size=48)
    assert len(split) == 3579
    assert (ferplus.majority(split.votes) >= 0).sum() == 3191


def test_the_committed_config_is_that_of_the_committed_card():
    config = read_config(ROOT / "training" / "configs" / "custom_net_8.toml")
    card = json.loads((ROOT / "models" / "custom_net_8" / "card.json").read_text())
    assert card["training"]["net_options"] == config.net_options
    assert card["training"]["seed"] == config.seed
