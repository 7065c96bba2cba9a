"""/v1/models and /v1/detectors, and requests that choose a detector."""

import hashlib
import json

import pytest

from app.settings import ROOT
from tests.conftest import card_document, image_file, upload, write_model

HAPPY = image_file(50, gray=250)


def test_models_lists_cards_and_problems(client, models_dir):
    (write_model(models_dir, "broken") / "model.onnx").unlink()
    models = {model["name"]: model for model in client.get("/v1/models").json["models"]}
    assert models["stub_8"]["ready"]
    assert models["stub_8"]["default"]
    assert models["stub_8"]["card"]["licence"] == "none"
    assert not models["stub_5"]["default"]
    assert not models["broken"]["ready"]
    assert "not installed" in models["broken"]["problem"]


def test_detectors_lists_detectors(client):
    detectors = {each["name"]: each for each in client.get("/v1/detectors").json["detectors"]}
    assert detectors["haar_default"]["ready"]
    assert detectors["stub"]["default"]
    assert "OpenCV" in detectors["haar_default"]["description"]


@pytest.mark.parametrize(
    ("setting", "default", "recommended"),
    [("", "haar", "single_shot"), ("haar", "haar", "haar"), ("stub", "stub", "stub")],
)
def test_detectors_marks_default_and_recommended(make_app, setting, default, recommended):
    listed = make_app(detector=setting).test_client().get("/v1/detectors").json["detectors"]
    assert [each["name"] for each in listed if each["default"]] == [default]
    assert [each["name"] for each in listed if each["recommended"]] == [recommended]


def test_detector_without_weights_returns_503_with_advice(client):
    detectors = {each["name"]: each for each in client.get("/v1/detectors").json["detectors"]}
    assert not detectors["yunet"]["ready"]
    assert "models install" in detectors["yunet"]["problem"]
    response = client.post("/v1/images", data={"image": upload(HAPPY), "detector": "yunet"})
    assert response.status_code == 503
    assert "models install" in response.json["detail"]
    assert client.get("/v1/images").json["images"] == []


def test_installed_detector_works_and_is_not_listed_as_model(client, models_dir, shared):
    folder = models_dir / "yunet"
    folder.mkdir()
    weights = (shared / "yunet" / "yunet_n_320.onnx").read_bytes()
    document = card_document("yunet") | {"kind": "detector", "input": {"size": 320}}
    document["weights"] = {"file": "model.onnx", "sha256": hashlib.sha256(weights).hexdigest()}
    (folder / "card.json").write_text(json.dumps(document))
    (folder / "model.onnx").write_bytes(weights)
    photograph = (ROOT / "docs" / "astronaut.jpg").read_bytes()
    response = client.post(
        "/v1/images", data={"image": upload(photograph), "detector": "yunet", "view": "full"}
    )
    assert response.status_code == 201
    (face,) = response.json["faces"]
    assert 160 < face["box"]["x1"] < 215
    assert face["detection_score"] > 0.8
    names = [model["name"] for model in client.get("/v1/models").json["models"]]
    assert names == ["stub_5", "stub_8"]
    response = client.post("/v1/images", data={"image": upload(HAPPY), "model": "yunet"})
    assert response.status_code == 422
