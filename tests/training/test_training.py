"""Training, resuming and exporting on a few generated faces."""

import copy
import importlib.util
import itertools
import json
import os
import shutil
import tomllib
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from app.settings import ROOT
from tests.conftest import SHARED, require
from tests.graphs import write_graph_model

pytestmark = pytest.mark.torch

if importlib.util.find_spec("torch") is None:
    if os.environ.get("CI") == "true":
        raise RuntimeError("CI must have torch: make train-env")
    pytest.skip("torch is not installed (make train-env)", allow_module_level=True)

import onnx
import torch
from onnx import numpy_helper

from app.vision.classifier import Classifier, ClassifierCard
from training.augment import augment
from training.calibration import fit_temperature
from training.config import Config, TrainingError, read_config
from training.data import read_split
from training.export import assert_parity, logits_of, training_document, write_models
from training.nets import NETS
from training.nets.paired import PairedNorm
from training.onnx_files import write_fp32, write_int8
from training.quantise import Rounded, with_rounded_weights
from training.runs import read_checkpoint
from training.tasks import load_data
from training.train import Run
from training.votes import LABELS, majority

EPOCHS = 16
CONFIG = """
name = "tiny"
net = "custom_net"
classes = 8
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
widths = [8, 8, 16, 32]
depths = [2, 1, 1, 1]
[export]
"models/tiny" = "fp32"
"models/tiny_int8" = "settled int8"
[card]
version = "0.0.1"
crop_scale = 1.0
machine = "a test"
licence = "none"
intended_use = "tests"
out_of_scope = "all else"
limits = "made faces"
"""


def write_faces(folder, count, seed):
    """Write noisy faces: bright above dark is happiness, dark above bright is sadness."""
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
    write_faces(tmp_path / "data" / "ferplus" / "FER2013Train", 64, seed=1)
    write_faces(tmp_path / "data" / "ferplus" / "FER2013Valid", 32, seed=2)
    (tmp_path / "tiny.toml").write_text(CONFIG.format(epochs=EPOCHS))
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return tmp_path


def make_run(workplace, **changes):
    config = replace(read_config(workplace / "tiny.toml"), **changes)
    return Run(config, load_data(workplace / "data", config), workplace / "runs" / config.name)


def test_fit_learns_and_writes_log_curve_and_checkpoint(workplace):
    run = make_run(workplace)
    run.fit()
    assert run.history[-1]["validation_accuracy"] > 0.9
    assert run.history[-1]["loss"] < run.history[0]["loss"]
    files = {path.name for path in run.folder.iterdir()}
    assert files == {"checkpoint.pt", "log.csv", "curve.png"}
    assert len((run.folder / "log.csv").read_text().splitlines()) == 1 + EPOCHS
    with Image.open(run.folder / "curve.png") as curve:
        assert curve.size[0] > 300


def test_resumed_run_equals_an_uninterrupted_run(workplace):
    whole = make_run(workplace, name="whole")
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


def test_resume_rejects_a_checkpoint_of_other_settings(workplace):
    run = make_run(workplace)
    run.fit_epoch()
    (workplace / "tiny.toml").write_text(CONFIG.format(epochs=EPOCHS + 1))
    with pytest.raises(TrainingError, match="other settings"):
        make_run(workplace).resume()


def test_incomplete_checkpoint_is_rejected(workplace):
    run = make_run(workplace)
    run.fit_epoch()
    path = run.checkpoint
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="not a whole checkpoint"):
        read_checkpoint(path)


def test_interrupted_save_keeps_the_last_checkpoint(workplace, monkeypatch):
    run = make_run(workplace)
    run.fit_epoch()

    def fail(_state, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        run.save()
    assert read_checkpoint(run.checkpoint)["epoch"] == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name = ", "config"),
        ('name = "x"', "missing"),
        (CONFIG.format(epochs=1) + "[more]\n", "more"),
    ],
)
def test_invalid_config_is_rejected_with_the_reason(workplace, text, complaint):
    (workplace / "wrong.toml").write_text(text)
    with pytest.raises(TrainingError, match=complaint):
        read_config(workplace / "wrong.toml")


def test_unknown_net_is_rejected_with_the_known_names(workplace):
    text = CONFIG.format(epochs=1).replace('net = "custom_net"', 'net = "huge"')
    (workplace / "tiny.toml").write_text(text)
    with pytest.raises(TrainingError, match="custom_net"):
        make_run(workplace)


def test_unknown_task_is_rejected_with_the_known_names(workplace):
    with pytest.raises(TrainingError, match="known: expressions, mixed_faces, faces, scenes"):
        make_run(workplace, task="ages")


def test_task_faces_loads_windows_and_faces(workplace):
    """Each split has one image, with a window on the face for each minimum size."""
    photos = workplace / "data" / "photos"
    (photos / "natural").mkdir(parents=True)
    splits = {"a.jpg": "train", "b.jpg": "val"}
    for name in splits:
        shutil.copy(ROOT / "docs" / "astronaut.jpg", photos / "natural" / name)
    rows = [f"natural/{name},{split}" for name, split in splits.items()]
    (photos / "images.csv").write_text("\n".join(["image,split", *rows]))
    (photos / "faces.csv").write_text(
        "image,x1,y1,x2,y2,label,condition\n"
        + "".join(f"natural/{name},178,66,273,161,sure,\n" for name in splits)
    )
    data = make_run(workplace, task="faces", classes=2).data
    faces = int(data.targets[:, 1].sum())
    assert faces == 2 * int(data.validation.labels.sum()) == 4
    assert faces / len(data.crops) == data.validation.labels.float().mean()
    assert len(data.crops) == 2 * len(data.validation.crops)


def test_training_data_contains_no_validation_images_and_duplicates(workplace):
    train, valid = (
        workplace / "data" / "ferplus" / folder for folder in ("FER2013Train", "FER2013Valid")
    )
    (train / "0000.png").write_bytes((valid / "0006.png").read_bytes())
    (train / "0002.png").write_bytes((train / "0004.png").read_bytes())
    data = make_run(workplace).data
    assert len(data.crops) == 64 - 2
    assert len(data.validation.crops) == 32


@pytest.mark.filterwarnings("ignore::FutureWarning")  # from the exporter of torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from the helpers of onnx
def test_exported_models_match_pytorch(workplace):
    run = make_run(workplace)
    run.fit()
    folders = write_models(workplace / "tiny.toml", workplace / "data")
    assert [folder.name for folder in folders] == ["tiny", "tiny_int8"]
    crops = run.data.validation.crops.numpy()[:, 0]
    expected = logits_of(run.average.module, crops)
    served = {}
    for folder, precision in zip(folders, ("fp32", "int8"), strict=True):
        card = ClassifierCard.read(folder)
        assert card.labels == LABELS
        assert card.document["weights"]["precision"] == precision
        assert card.document["training"]["pictures"] == 64
        served[precision] = Classifier.load(folder).predict(crops)
        assert_parity(expected, served[precision], precision)
    assert not np.allclose(served["fp32"], served["int8"], atol=1e-6)
    sizes = [(folder / "model.onnx").stat().st_size for folder in folders]
    assert sizes[1] != sizes[0]


def test_assert_parity_rejects_another_network():
    generator = np.random.default_rng(0)
    expected, other = generator.normal(0, 1, (2, 100, 8)).astype(np.float32)
    assert "within" in assert_parity(expected, expected + 1e-5, "fp32")
    assert "100.0 %" in assert_parity(expected, expected + 1e-5, "int8")
    for precision in ("fp32", "int8"):
        with pytest.raises(TrainingError):
            assert_parity(expected, other, precision)
    with pytest.raises(TrainingError):
        assert_parity(expected, np.full_like(expected, np.nan), "fp32")


@pytest.mark.filterwarnings("ignore::FutureWarning")  # from the exporter of torch
def test_failed_export_keeps_the_previous_model(workplace, monkeypatch):
    text = (
        (workplace / "tiny.toml").read_text().replace('"models/tiny_int8" = "settled int8"\n', "")
    )
    (workplace / "tiny.toml").write_text(text)
    make_run(workplace).fit_epoch()
    write_models(workplace / "tiny.toml", workplace / "data")
    before = (workplace / "models" / "tiny" / "model.onnx").read_bytes()
    monkeypatch.setattr("training.export.FP32_PARITY", -1.0)
    with pytest.raises(TrainingError, match="differs"):
        write_models(workplace / "tiny.toml", workplace / "data")
    assert [folder.name for folder in (workplace / "models").iterdir()] == ["tiny"]
    assert (workplace / "models" / "tiny" / "model.onnx").read_bytes() == before


def test_export_before_training_is_rejected(workplace):
    with pytest.raises(TrainingError, match="train first"):
        write_models(workplace / "tiny.toml", workplace / "data")


def test_export_with_an_unknown_precision_is_rejected(workplace):
    text = (workplace / "tiny.toml").read_text().replace('"settled int8"', '"int4"')
    (workplace / "tiny.toml").write_text(text)
    with pytest.raises(TrainingError, match=r"fp32.*int8"):
        write_models(workplace / "tiny.toml", workplace / "data")


def test_epoch_ends_early_when_the_time_is_over(workplace, monkeypatch):
    """Each batch takes ten seconds, so one minute ends before the eight batches of the epoch."""
    run = make_run(workplace, minutes=1)
    clock = itertools.count(step=10)
    monkeypatch.setattr("training.train.time.monotonic", lambda: next(clock))
    run.fit()
    assert run.epoch == 1
    assert int(run.average.n_averaged) == 6


def test_five_classes_train_on_their_images_only(workplace):
    valid = workplace / "data" / "ferplus" / "FER2013Valid" / "label.csv"
    valid.write_text(valid.read_text().replace("0,0,0,10,0,0,0", "0,0,0,0,0,0,10", 1))
    run = make_run(workplace, classes=5)
    assert run.data.targets.shape == (64, 5)
    assert len(run.data.validation.labels) == 31  # without the image of fear
    run.fit_epoch()
    assert logits_of(run.average.module, run.data.crops.numpy()[:3, 0]).shape == (3, 5)


def test_run_can_start_from_another_run_with_more_classes(workplace):
    first = make_run(workplace)
    first.fit()
    crops = first.data.validation.crops.numpy()[:, 0]
    expected = logits_of(first.average.module, crops)
    second = make_run(workplace, name="second", classes=5, start="tiny")
    assert np.allclose(logits_of(second.average.module, crops), expected[:, :5], atol=1e-5)
    other = {"widths": [8, 8, 8, 16]}
    with pytest.raises(TrainingError, match="another net"):
        make_run(workplace, name="third", start="tiny", net_options=other)
    with pytest.raises(TrainingError, match="not a whole checkpoint"):
        make_run(workplace, name="third", start="never_trained")


def test_resume_does_not_need_the_run_it_started_from(workplace):
    first = make_run(workplace)
    first.fit_epoch()
    second = make_run(workplace, name="second", start="tiny")
    second.fit_epoch()
    first.checkpoint.unlink()
    again = make_run(workplace, name="second", start="tiny")
    assert again.resume()
    assert again.epoch == 1
    assert training_document(again)["method"] == (
        "from the weights of the run tiny, on crops of 48 pixels"
    )


def test_teachers_contribute_their_share_of_the_targets(workplace):
    """The teacher predicts neutral for every crop with certainty."""
    folder = write_graph_model(workplace / "sure", weight=0.0, bias_of_neutral=30.0)
    plain = make_run(workplace).data.targets
    taught = make_run(workplace, teachers=[str(folder)], teacher_share=0.25).data.targets
    neutral = torch.zeros_like(plain)
    neutral[:, 0] = 1
    assert torch.allclose(taught, 0.75 * plain + 0.25 * neutral, atol=1e-5)


def test_balance_draws_rare_classes_more_often(workplace):
    label = workplace / "data" / "ferplus" / "FER2013Train" / "label.csv"
    lines = label.read_text().splitlines()
    sad = [index for index, line in enumerate(lines) if line.endswith("0,0,0,10,0,0,0,0,0,0")]
    for index in sad[4:]:  # four of 64 stay sad
        lines[index] = lines[index].replace("0,0,0,10,", "0,10,0,0,")
    label.write_text("\n".join(lines))
    run = make_run(workplace, balance=1.0)
    sadness = run.data.targets[torch.cat([torch.cat(run.data.batches(run)) for _ in range(50)]), 3]
    assert 0.4 < sadness.mean() < 0.6
    plain = make_run(workplace)
    everything = torch.cat(plain.data.batches(plain))
    assert sorted(everything.tolist()) == list(range(64))


def test_crop_size_follows_the_schedule(workplace):
    run = make_run(workplace, sizes=[[0.25, 24], [0.5, 32]], epochs=4)
    crops = run.data.crops[:2].float()
    sides = []
    for epoch in range(4):
        run.epoch = epoch
        sides.append(run.data.shrink(run, crops).shape[-1])
    assert sides == [24, 32, 48, 48]
    assert training_document(run)["method"] == (
        "from random weights, on crops of 24 pixels until 25% of the schedule, "
        "of 32 pixels until 50% of the schedule, of 48 pixels"
    )


SMALL_NETS = [
    ("custom_net", {"widths": (8, 8, 16, 16), "depths": (2, 2, 1, 2)}, 48),
    ("vgg13", {"stages": ((4, 4), (8, 8), (8, 8, 8), (8, 8, 8)), "dense": 16}, 64),
]


def settled(net, options, side):
    """Return a small net with changed running statistics, and crops for it."""
    torch.manual_seed(0)
    net = NETS[net](classes=8, **options)
    crops = torch.rand(16, 1, side, side) * 255
    for _ in range(3):
        net(crops)
    return net.eval(), crops


@pytest.mark.parametrize(("net", "options", "side"), SMALL_NETS)
def test_folded_net_returns_the_same_output(net, options, side):
    net, crops = settled(net, options, side)
    with torch.no_grad():
        expected = net(crops)
        folded = net.fold()
        assert torch.allclose(folded(crops), expected, atol=1e-4)
    assert not [m for m in folded.modules() if isinstance(m, PairedNorm)]


def test_fit_temperature_finds_the_scale():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (20_000, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([generator.choice(4, p=row) for row in probabilities])
    assert fit_temperature(logits * 3, labels) == pytest.approx(3, rel=0.05)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's exporter, of torch itself
def test_an_export_can_leave_out_the_last_classes(workplace):
    text = (workplace / "tiny.toml").read_text()
    text = text.replace('"models/tiny_int8" = "settled int8"\n', "")
    (workplace / "tiny.toml").write_text(text + '[folders."models/tiny"]\nclasses = 2\n')
    run = make_run(workplace)
    run.fit_epoch()
    (folder,) = write_models(workplace / "tiny.toml", workplace / "data")
    crops = run.data.validation.crops.numpy()[:, 0]
    expected = logits_of(run.average.module, crops)[:, :2]
    assert np.allclose(Classifier.load(folder).predict(crops), expected, atol=1e-3)
    assert ClassifierCard.read(folder).labels == LABELS[:2]


def test_augmentation_is_bounded_seeded_and_different_for_each_crop():
    crops = torch.arange(48.0).repeat(6, 1, 48, 1) * 5
    one, again, other = (augment(crops, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one.shape == crops.shape
    assert (one >= 0).all()
    assert (one <= 255).all()
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])


def test_augmentation_without_damage_erases_nothing():
    gray = torch.full((200, 1, 48, 48), 128.0)
    one, other = (augment(gray, torch.Generator().manual_seed(0), damage=d) for d in (0, 1))
    spread = [(crops.amax(dim=(1, 2, 3)) - crops.amin(dim=(1, 2, 3))) for crops in (one, other)]
    assert spread[0].max() < 60  # only noise
    assert 0.05 < (spread[1] > 60).float().mean() < 0.3


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
    net, crops = settled(net, options, side)
    with torch.no_grad():
        answer = net(crops)
        assert torch.allclose(answer, net(crops.flip(3)), atol=1e-4)
        upside_down = net(crops.flip(2))
        assert (answer - upside_down).abs().max() > 0.01


def layers(net):
    return [each for each in net.modules() if isinstance(each, torch.nn.Conv2d | torch.nn.Linear)]


def test_trained_rounding_is_closer_to_the_net_than_plain_rounding(monkeypatch):
    monkeypatch.setattr("training.quantise.STEPS", 60)
    net, crops = settled(*SMALL_NETS[0])
    net, crops = net.fold(), crops.byte()
    trained, merely = with_rounded_weights(net, crops, side=48, seed=1), copy.deepcopy(net)
    for mine, other in zip(layers(trained), layers(merely), strict=True):
        assert torch.allclose(Rounded()(mine.weight), mine.weight, atol=1e-6)
        other.weight.data = Rounded()(other.weight)
    with torch.no_grad():
        answer, expected, worse = (each(crops.float()) for each in (trained, net, merely))
    assert (answer - expected).abs().mean() < (worse - expected).abs().mean()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # from the exporter of torch
def test_int8_file_contains_the_rounded_weights(tmp_path, monkeypatch):
    """Training of the rounding and export must use the same scales."""
    monkeypatch.setattr("training.quantise.STEPS", 2)
    net, crops = settled(*SMALL_NETS[0])
    rounded = with_rounded_weights(net.fold(), crops.byte(), side=48, seed=1)
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


def test_real_validation_images_match_the_protocol():
    require(SHARED.is_dir(), "no research data at ../shared")
    split = read_split(SHARED / "data" / "ferplus", "valid", size=48)
    assert len(split) == 3579
    assert (majority(split.votes) >= 0).sum() == 3191


CONFIGS = sorted((ROOT / "training" / "configs").glob("*.toml"))
STARTS = {read_config(path).start for path in CONFIGS}
TEACHERS = {name for path in CONFIGS for name in read_config(path).teacher_runs}
NEEDED = STARTS | TEACHERS  # configs without an export


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_committed_configs_match_the_committed_cards(path):
    config = read_config(path)
    assert config.name == path.stem
    folders = tomllib.loads(path.read_text()).get("export", {})
    assert folders or config.name in NEEDED
    for folder in folders:
        card = json.loads((ROOT / folder / "card.json").read_text())
        # A setting that a card does not name is younger than its model and was not set.
        trained = Config(**card["training"]["settings"])
        assert json.dumps(asdict(trained)) == json.dumps(asdict(config))
        variant = tomllib.loads(path.read_text()).get("folders", {}).get(folder, {})
        assert len(card["labels"]) == variant.get("classes", config.classes)
