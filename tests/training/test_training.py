"""Training runs on generated faces: learning, resuming, settings and data."""

import importlib.util
import itertools
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

import torch

from app.settings import ROOT
from tests.conftest import SHARED
from tests.graphs import write_graph_model
from tests.training.tiny_run import CONFIG, EPOCHS, make_run
from training.config import TrainingError, read_config
from training.data import read_split
from training.export import logits_of, training_document
from training.ferplus_labels import majority
from training.runs import read_checkpoint


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
    uninterrupted = make_run(workplace, name="uninterrupted")
    uninterrupted.fit()
    first = make_run(workplace)
    for _ in range(2):
        first.fit_epoch()
    second = make_run(workplace)
    assert second.resume()
    assert second.epoch == 2
    second.fit()
    expected, got = uninterrupted.average.state_dict(), second.average.state_dict()
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
    with pytest.raises(TrainingError, match="not a complete checkpoint"):
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
    (workplace / "invalid.toml").write_text(text)
    with pytest.raises(TrainingError, match=complaint):
        read_config(workplace / "invalid.toml")


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
    with pytest.raises(TrainingError, match="trained another network"):
        make_run(workplace, name="third", start="tiny", net_options=other)
    with pytest.raises(TrainingError, match="not a complete checkpoint"):
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
    mixed = make_run(workplace, teachers=[str(folder)], teacher_share=0.25).data.targets
    neutral = torch.zeros_like(plain)
    neutral[:, 0] = 1
    assert torch.allclose(mixed, 0.75 * plain + 0.25 * neutral, atol=1e-5)


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
        sides.append(run.data.resize(run, crops).shape[-1])
    assert sides == [24, 32, 48, 48]
    assert training_document(run)["method"] == (
        "from random weights, on crops of 24 pixels until 25% of the schedule, "
        "of 32 pixels until 50% of the schedule, of 48 pixels"
    )


def test_real_validation_images_match_the_protocol():
    require(SHARED.is_dir(), "no research data at ../shared")
    split = read_split(SHARED / "data" / "ferplus", "valid", size=48)
    assert len(split) == 3579
    assert (majority(split.votes) >= 0).sum() == 3191
