"""Export of training runs to model folders."""

import importlib.util

import numpy as np
import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")


from app.vision.classifier import Classifier, ClassifierCard
from tests.training.tiny_run import make_run
from training.config import TrainingError
from training.export import assert_parity, logits_of, write_models
from training.ferplus_labels import LABELS


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
        weights = (folder / "model.onnx").read_bytes()
        assert b"stack_trace" not in weights
        assert b"training/nets" not in weights
    assert not np.allclose(served["fp32"], served["int8"], atol=1e-6)
    sizes = [(folder / "model.onnx").stat().st_size for folder in folders]
    assert sizes[1] != sizes[0]


def test_assert_parity_rejects_another_network():
    generator = np.random.default_rng(0)
    expected, other = generator.normal(0, 1, (2, 100, 8)).astype(np.float32)
    assert "difference from PyTorch" in assert_parity(expected, expected + 1e-5, "fp32")
    assert "100.0 %" in assert_parity(expected, expected + 1e-5, "int8")
    for precision in ("fp32", "int8"):
        with pytest.raises(TrainingError):
            assert_parity(expected, other, precision)
    with pytest.raises(TrainingError):
        assert_parity(expected, np.full_like(expected, np.nan), "fp32")


@pytest.mark.filterwarnings("ignore::FutureWarning")  # from the exporter of torch
def test_failed_export_keeps_the_previous_model(workplace, monkeypatch):
    text = (workplace / "tiny.toml").read_text().replace('"models/tiny_int8" = "qat int8"\n', "")
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
    text = (workplace / "tiny.toml").read_text().replace('"qat int8"', '"int4"')
    (workplace / "tiny.toml").write_text(text)
    with pytest.raises(TrainingError, match=r"fp32.*int8"):
        write_models(workplace / "tiny.toml", workplace / "data")


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's exporter, of torch itself
def test_an_export_can_leave_out_the_last_classes(workplace):
    text = (workplace / "tiny.toml").read_text()
    text = text.replace('"models/tiny_int8" = "qat int8"\n', "")
    (workplace / "tiny.toml").write_text(text + '[folders."models/tiny"]\nclasses = 2\n')
    run = make_run(workplace)
    run.fit_epoch()
    (folder,) = write_models(workplace / "tiny.toml", workplace / "data")
    crops = run.data.validation.crops.numpy()[:, 0]
    expected = logits_of(run.average.module, crops)[:, :2]
    assert np.allclose(Classifier.load(folder).predict(crops), expected, atol=1e-3)
    assert ClassifierCard.read(folder).labels == LABELS[:2]
