"""Installation of a model from a card and an ONNX file."""

import hashlib
import json

import pytest

from app.errors import InvalidCard, ModelUnavailable
from app.vision.classifier import Classifier
from app.vision.detectors import DETECTORS
from app.vision.install import install
from tests.conftest import YUNET_CARD, card_document
from tests.graphs import write_graph


@pytest.fixture
def model(tmp_path):
    """(weights, card without the field `weights`, models folder)."""
    document = card_document("mine")
    del document["weights"]
    (tmp_path / "card.json").write_text(json.dumps(document))
    return write_graph(tmp_path / "some.onnx"), tmp_path / "card.json", tmp_path / "models"


def change(card_path, **fields):
    card_path.write_text(json.dumps(json.loads(card_path.read_text()) | fields))


def test_weights_and_card_are_copied_with_the_checksum(model):
    weights, card_path, models = model
    card = install(weights, card_path, models)
    assert card.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert [path.name for path in models.iterdir()] == ["mine"]
    document = json.loads((models / "mine" / "card.json").read_text())
    assert document["weights"]["bytes"] == len(weights.read_bytes())
    assert Classifier.load(models / "mine").card.name == "mine"


def test_checksum_in_the_card_must_match_the_weights(model):
    weights, card_path, models = model
    change(card_path, weights={"sha256": "0" * 64})
    with pytest.raises(InvalidCard, match="checksum"):
        install(weights, card_path, models)
    change(card_path, weights={"sha256": hashlib.sha256(weights.read_bytes()).hexdigest()})
    assert install(weights, card_path, models).name == "mine"


def test_installed_model_is_not_overwritten(model):
    weights, card_path, models = model
    install(weights, card_path, models)
    change(card_path, version="2")
    with pytest.raises(InvalidCard, match="already"):
        install(weights, card_path, models)
    assert Classifier.load(models / "mine").card.version == "0.1"


@pytest.mark.parametrize(
    ("fields", "error", "complaint"),
    [
        ({"labels": ["neutral", "happiness"]}, ModelUnavailable, r"\(2, 2\)"),
        ({"labels": "happiness"}, InvalidCard, "labels"),
        ({"input": {"size": 64}}, ModelUnavailable, r"items of shape \(1, 64, 64\)"),
        ({"temperature": 0}, InvalidCard, "temperature"),
        ({"name": "../mine"}, InvalidCard, "name"),
    ],
)
def test_rejected_model_leaves_nothing_in_the_models_folder(model, fields, error, complaint):
    weights, card_path, models = model
    change(card_path, **fields)
    with pytest.raises(error, match=complaint):
        install(weights, card_path, models)
    assert not models.exists() or not list(models.iterdir())


@pytest.mark.parametrize(
    ("card", "complaint"),
    [("{", "not valid JSON"), ("[]", "JSON object"), (None, "cannot be read")],
)
def test_unreadable_card_is_reported(model, card, complaint):
    weights, card_path, models = model
    if card is None:
        card_path.unlink()
    else:
        card_path.write_text(card)
    with pytest.raises(InvalidCard, match=complaint):
        install(weights, card_path, models)


def test_missing_weights_are_reported(model):
    weights, card_path, models = model
    weights.unlink()
    with pytest.raises(ModelUnavailable, match=r"some\.onnx"):
        install(weights, card_path, models)


def detector_card(tmp_path, **fields):
    path = tmp_path / "detector.json"
    path.write_text(json.dumps(YUNET_CARD | fields))
    return path


def test_weights_of_a_detector_can_be_installed(shared, tmp_path):
    weights = shared / "yunet" / "yunet_n_320.onnx"
    card = install(weights, detector_card(tmp_path), tmp_path / "models")
    assert (card.name, card.input_size) == ("yunet", 320)
    (tmp_path / "models" / "yunet" / "model.onnx").write_bytes(b"others")
    with pytest.raises(InvalidCard, match="checksum"):
        DETECTORS["yunet"].load(tmp_path / "models")


@pytest.mark.parametrize(
    ("fields", "error", "complaint"),
    [
        ({"name": "other"}, InvalidCard, "unknown detector 'other'; known: .*yunet"),
        ({"kind": "nose"}, InvalidCard, "kind"),
        ({"input": {}}, InvalidCard, "input"),
        ({}, ModelUnavailable, "not a valid YuNet network"),
    ],
)
def test_invalid_detector_is_rejected_and_leaves_nothing(model, tmp_path, fields, error, complaint):
    weights, _, models = model
    with pytest.raises(error, match=complaint):
        install(weights, detector_card(tmp_path, **fields), models)
    assert not models.exists() or not list(models.iterdir())
