"""Training on several sets of faces with teachers: targets, shares and complete runs."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import require

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

import torch

from tests.training.test_face_sets import faces
from training.augment import STRENGTHS, augment
from training.classification import MIN_CLASS_FACES
from training.config import Config, TrainingError
from training.data.face_sets import FACES, MARGIN, write_set
from training.devices import choose_device
from training.distil import distil
from training.import_run import import_run
from training.mixed_faces import load_mixed_faces
from training.nets.mobilenet_v2 import MobileNetV2
from training.runs import CHECKPOINT, RUNS, load_pretrained, read_checkpoint
from training.soft_labels import SOFT_LABELS, predict, read_soft_labels, write_soft_labels
from training.train import Run

HAPPINESS, SADNESS = 1, 3
CPU = torch.device("cpu")


def config(**changes):
    plain = Config(
        name="tiny",
        net="custom_net",
        task="mixed_faces",
        classes=8,
        input_size=48,
        minutes=10,
        epochs=7,
        batch_size=16,
        learning_rate=8e-3,
        betas=(0.9, 0.99),
        weight_decay=0.05,
        warmup_epochs=1,
        ema_decay=0.9,
        seed=1,
        shares={"ferplus": 0.5, "wild": 0.5},
        draws=256,
        net_options={"widths": (8, 8, 16, 32), "depths": (2, 1, 1, 1)},
    )
    return replace(plain, **changes)


def labelled_faces(count, side, seed):
    """Return images and targets: bright above dark is happiness, dark above bright is sadness."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 60, (count, side, side), dtype=np.uint8)
    labels = np.where(np.arange(count) % 2 == 0, HAPPINESS, SADNESS)
    for image, label in zip(images, labels, strict=True):
        half = slice(0, side // 2) if label == HAPPINESS else slice(side // 2, side)
        image[half] += 150
    return images, np.eye(8, dtype=np.float32)[labels]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    for seed, (name, count, side, margin) in enumerate(
        (
            ("ferplus", 60, 48, 1.0),
            ("wild", 40, 64, MARGIN),
            ("unlabelled", 20, 64, MARGIN),
            ("ferplus_validation", 20, 48, 1.0),
            ("wild_validation", 2 * MIN_CLASS_FACES + 1, 64, MARGIN),
        )
    ):
        images, targets = labelled_faces(count, side, seed)
        folds = (np.arange(count) % 2 if name == "wild" else np.full(count, -1)).astype(np.int8)
        known = targets * (name != "unlabelled")
        write_set(FACES, name, faces(images, margin, targets=known, folds=folds), quality=95)
    return tmp_path


def test_sets_are_weighted_by_their_shares_without_the_left_out_fold(workplace):
    data = load_mixed_faces(Path(), config(shares={"ferplus": 0.75, "wild": 0.25}, fold=1), True)
    assert len(data.crops) == 60 + 20
    assert data.weights[:60].sum() == pytest.approx(0.75)
    assert data.weights[60:].sum() == pytest.approx(0.25)
    assert len(data.validation.crops) == 20
    assert len(data.wild.crops) == 25
    assert data.crops.shape[2:] == (68, 68)
    assert data.plain_crops.shape[2:] == data.wild.crops.shape[2:] == (48, 48)
    assert "not by people" in data.source


@pytest.mark.parametrize("shares", [{}, {"ferplus": 0.5, "lfw": 0.5}])
def test_shares_with_unknown_sets_are_rejected(workplace, shares):
    with pytest.raises(TrainingError, match="some of ferplus, wild, unlabelled"):
        load_mixed_faces(Path(), config(shares=shares), True)


def write_teacher(name, fold, label):
    """Write soft labels with `label` for all faces."""
    (RUNS / name).mkdir(parents=True)
    rows = {
        each: np.eye(8)[np.full(count, label)]
        for each, count in (("ferplus", 60), ("wild", 40), ("unlabelled", 20))
    }
    np.savez(RUNS / name / SOFT_LABELS, fold=fold, **rows)


def test_targets_mix_labels_with_soft_labels_of_teachers_of_other_folds(
    workplace,
):
    write_teacher("first", 0, HAPPINESS)
    write_teacher("second", 1, SADNESS)
    shares = {"ferplus": 0.4, "wild": 0.3, "unlabelled": 0.3}
    settings = config(shares=shares, teacher_runs=("first", "second"), teacher_share=0.4)
    targets = load_mixed_faces(Path(), settings, True).targets
    # FER+: both teachers, .2 each, and the label .6.
    assert targets[0, HAPPINESS] == pytest.approx(0.8, abs=1e-3)
    assert targets[1, HAPPINESS] == pytest.approx(0.2, abs=1e-3)
    # Wild: the first teacher was not trained on the even rows (happiness), the second not on the
    # odd rows (sadness).
    assert torch.allclose(targets[60:62, HAPPINESS], torch.tensor([1.0, 0.0]), atol=1e-3)
    # Without a label: the soft labels alone.
    assert targets[100, HAPPINESS] == pytest.approx(0.5, abs=1e-3)
    assert len(load_mixed_faces(Path(), settings, False).targets) == 100


def test_missing_soft_labels_and_soft_labels_of_other_faces_are_rejected(workplace):
    with pytest.raises(TrainingError, match="missing has no soft labels for wild"):
        read_soft_labels(["missing"], "wild", np.zeros(40, np.int8))
    write_teacher("first", 0, HAPPINESS)
    with pytest.raises(TrainingError, match="other faces"):
        read_soft_labels(["first"], "wild", np.zeros(41, np.int8))


def test_faces_that_all_teachers_were_trained_on_get_the_mean_soft_label(workplace):
    write_teacher("first", 0, HAPPINESS)
    folds = np.array([0, 1] * 20, np.int8)
    assert np.allclose(read_soft_labels(["first"], "wild", folds), np.eye(8)[HAPPINESS])


def test_five_classes_leave_out_the_faces_of_the_others(workplace):
    images, targets = labelled_faces(10, 48, 9)
    targets[0] = np.eye(8)[6]
    targets[1] = 0.7 * np.eye(8)[HAPPINESS] + 0.3 * np.eye(8)[6]
    write_set(FACES, "ferplus", faces(images, targets=targets), quality=None)
    data = load_mixed_faces(Path(), config(classes=5, shares={"ferplus": 1.0}), True)
    assert data.targets.shape == (9, 5)
    assert torch.allclose(data.targets.sum(dim=1), torch.ones(9))


TINY = {"widths": (4, 4, 4, 4), "depths": (1, 1, 1, 1)}


def test_distil_trains_teachers_and_students_in_parallel(workplace):
    """All stages run in separate processes, and the results are collected. The networks are too
    small to be accurate."""
    teacher = config(name="teacher", fold=0, epochs=1, draws=32, net_options=TINY)
    student = config(
        name="student",
        shares={"ferplus": 0.4, "wild": 0.3, "unlabelled": 0.3},
        teacher_runs=("teacher",),
        teacher_share=0.5,
        epochs=4,
        validate_each=2,
        draws=32,
        net_options=TINY,
    )
    out = workplace / "out"
    distil([student], [teacher], device="cpu", seconds=None, out=out)
    logs = [(RUNS / name / "train.log").read_text() for name in ("teacher", "student")]
    assert all("finished" in log for log in logs), logs
    assert {path.name for path in out.iterdir()} == {
        "students.pt",
        "teachers_custom_net.pt",
        "soft_labels_and_logs.tar",
    }
    with np.load(RUNS / "teacher" / SOFT_LABELS) as outputs:
        assert outputs["unlabelled"].shape == (20, 8)
    state = read_checkpoint(RUNS / "student" / CHECKPOINT)
    assert state["config"]["teacher_runs"] == ("teacher",)
    assert [row["epoch"] for row in state["history"]] == [2, 4]
    (workplace / "mine.toml").write_text(toml(replace(student, name="mine")))
    run = import_run(out / "students.pt", "student", workplace / "mine.toml", workplace)
    assert run.history == state["history"]
    again = Run(run.config, run.data, run.folder)
    assert again.resume()
    again.average.eval()
    figures = again.data.validate(again)
    assert figures["wild_loss"] == pytest.approx(state["history"][-1]["wild_loss"], abs=0.01)
    with pytest.raises(TrainingError, match="move it first"):
        import_run(out / "students.pt", "student", workplace / "mine.toml", workplace)
    with pytest.raises(TrainingError, match="no run 'other'"):
        (workplace / "more.toml").write_text(toml(replace(student, name="more")))
        import_run(out / "students.pt", "other", workplace / "more.toml", workplace)


def toml(settings):
    lines = [
        f"{key} = {value!r}".replace("'", '"')
        .replace("(", "[")
        .replace(",)", "]")
        .replace(")", "]")
        for key, value in vars(settings).items()
        if not isinstance(value, dict)
    ]
    for key in ("shares", "net_options"):
        lines.append(f"[{key}]")
        for name, value in getattr(settings, key).items():
            lines.append(f"{name} = {list(value) if isinstance(value, tuple) else value}")
    return "\n".join(lines)


def test_prediction_is_the_mean_over_views_and_mirror_images(workplace):
    run = Run(config(), load_mixed_faces(Path(), config(), True), RUNS / "tiny")
    run.fit()
    write_soft_labels("tiny", FACES, CPU)
    with np.load(RUNS / "tiny" / SOFT_LABELS) as file:
        sadness = file["unlabelled"][:, SADNESS]
    assert (sadness[1::2] > 0.5).all()
    assert (sadness[::2] < 0.5).all()
    canvases = np.random.default_rng(0).integers(0, 256, (3, 68, 68), dtype=np.uint8)
    first = predict(run.average.module.eval(), canvases, 48)
    mirrored = predict(run.average.module, np.ascontiguousarray(canvases[:, :, ::-1]), 48)
    assert np.allclose(first, mirrored, atol=5e-3)


def test_mobilenet_starts_from_weights_for_colour_images(workplace):
    torch.manual_seed(0)
    net = MobileNetV2(classes=8).eval()
    weights = {key: value for key, value in net.state_dict().items() if "head" not in key}
    weights["features.0.0.weight"] = weights["features.0.0.weight"].repeat(1, 3, 1, 1) / 3
    RUNS.mkdir(exist_ok=True)
    torch.save({key: value.half() for key, value in weights.items()}, RUNS / "weights.pt")
    other = MobileNetV2(classes=8).eval()
    load_pretrained(other, RUNS / "weights.pt")
    crops = 255 * torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        assert torch.allclose(other.features(crops), net.features(crops), rtol=0.05, atol=0.5)
    first = [each.features[0][0].weight for each in (net, other)]
    assert torch.allclose(*first, rtol=0.01, atol=1e-3)
    with pytest.raises(TrainingError, match="no weights for this network"):
        load_pretrained(other, RUNS / "nothing.pt")


def test_strong_augmentation_is_bounded_and_seeded_and_includes_the_margin():
    canvases = torch.full((64, 1, 68, 68), 60.0)
    canvases[:, :, 10:58, 10:58] = 120.0
    strong = STRENGTHS["strong"]
    one, again, other = (
        augment(canvases, torch.Generator().manual_seed(seed), side=48, strength=strong)
        for seed in (1, 1, 2)
    )
    assert one.shape == (64, 1, 48, 48)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert (one >= 0).all()
    assert (one <= 255).all()
    corners = one[:, 0, :3, :3].mean(dim=(1, 2))
    middles = one[:, 0, 20:28, 20:28].mean(dim=(1, 2))
    assert (corners < 0.75 * middles).float().mean() > 0.2


NOTHING = replace(
    STRENGTHS["strong"], rotation=0, log_scale=0, log_aspect=0, shear=0, shift=0, log_gamma=0,
    lighting=0, noise_sigma=0, blur_share=0, erase_share=0, jpeg_share=0,
)  # fmt: skip


def test_augmentation_without_changes_returns_the_middle_or_its_mirror_image():
    canvases = 255 * torch.rand(8, 1, 68, 68, generator=torch.Generator().manual_seed(0))
    augmented = augment(canvases, torch.Generator().manual_seed(0), side=48, strength=NOTHING)
    middle = canvases[:, :, 10:58, 10:58]
    same = [torch.allclose(*pair, atol=0.1) for pair in zip(augmented, middle, strict=True)]
    mirrored = [
        torch.allclose(*pair, atol=0.1) for pair in zip(augmented, middle.flip(3), strict=True)
    ]
    assert all(one != other for one, other in zip(same, mirrored, strict=True))
    assert 0 < sum(same) < 8


def test_compression_keeps_flat_blocks_and_removes_fine_detail():
    flat = torch.full((20, 1, 16, 16), 97.0)
    fine = flat + torch.randn(flat.shape, generator=torch.Generator().manual_seed(1))
    only = replace(NOTHING, jpeg_share=1.0)
    changed = [
        augment(each, torch.Generator().manual_seed(0), strength=only) for each in (flat, fine)
    ]
    assert (changed[0] - flat).abs().max() < 2
    assert (changed[1].std(dim=(2, 3)) < 0.6 * fine.std(dim=(2, 3))).all()


def test_unknown_device_is_rejected():
    assert choose_device("cpu") == CPU
    with pytest.raises(TrainingError, match="'quantum' cannot be used"):
        choose_device("quantum")
