"""Training for a fixed time, and the import of its results as a run."""

import importlib.util
import itertools
from types import SimpleNamespace

import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

import torch

from tests.training.test_composer import made_pack
from training.config import TrainingError
from training.detection import import_run, train
from training.detection.results import read_log, read_weights
from training.runs import averaged_weights, read_checkpoint

CONFIG = """
name = "tiny"
task = "packed_scenes"
net = "single_shot"
classes = 8
input_size = 64
pack = "scenes.npz"
minutes = 0.1
epochs = 1
scenes = 1000
batch_size = 2
sheets = 1
learning_rate = 1e-3
betas = [0.9, 0.99]
weight_decay = 0.05
warmup_epochs = 0.02
ema_decay = 0.9
seed = 1
[net_options]
widths = [4, 4, 8, 8, 8]
depths = [1, 1, 1, 1, 1]
extra = [0, 0, 0, 0, 0]
neck = 8
expression_widths = [4, 4, 8, 8]
"""


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Return the folder with the results of a run on the CPU."""
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    made_pack()[0].save(tmp_path / "runs" / "scenes.npz")
    (tmp_path / "tiny.toml").write_text(CONFIG)
    # Each reading of the clock adds a quarter of a second, so the speed of the machine is
    # irrelevant.
    clock = SimpleNamespace(time=itertools.count(0, 0.25).__next__)
    monkeypatch.setattr(train, "time", clock)
    monkeypatch.setattr("sys.argv", ["train", "tiny.toml", "--out", "gpu", "--device", "cpu"])
    train.main()
    return tmp_path / "gpu"


def imported(results, monkeypatch):
    monkeypatch.setattr("sys.argv", ["import_run", "tiny.toml", str(results)])
    import_run.main()
    return results.parent / "runs" / "tiny"


def test_import_run_writes_weights_and_log(results, monkeypatch):
    folder = imported(results, monkeypatch)
    weights = averaged_weights(read_checkpoint(folder / "checkpoint.pt"))
    expected = read_weights(results, "tiny")
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    rows = (folder / "log.csv").read_text().splitlines()
    assert rows[0] == "epoch,minutes,loss"
    assert len(rows) == 1 + len(read_log(results, "tiny")) > 1
    assert (folder / "curve.png").exists()


def test_import_run_keeps_an_existing_run(results, monkeypatch):
    imported(results, monkeypatch)
    with pytest.raises(SystemExit, match="move it first"):
        imported(results, monkeypatch)


def test_missing_weights_are_rejected(results):
    (results / "tiny.pt").unlink()
    with pytest.raises(TrainingError, match="does not have all weights of tiny"):
        read_weights(results, "tiny")
