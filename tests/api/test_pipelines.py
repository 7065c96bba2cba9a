"""The single_shot pipeline over HTTP."""

import numpy as np
import pytest

from app.settings import SettingError
from app.vision.cells import grid
from tests.conftest import image_file, upload
from tests.graphs import write_single_shot

SIDE = 64


@pytest.fixture
def single_shot(models_dir):
    """A network that finds one happy face of 16 pixels in every image."""
    outputs = np.zeros((len(grid(SIDE)[0]), 13), np.float32)
    outputs[:, 4] = -20
    outputs[65, 4:7] = 2, 0, 1
    write_single_shot(models_dir / "single_shot", outputs, side=SIDE)


def post(client, **fields):
    fields = {"image": upload(image_file(64, 64)), "pipeline": "single_shot"} | fields
    return client.post("/v1/images", data=fields)


def test_pipelines_lists_pipelines(client):
    pipelines = {each["name"]: each for each in client.get("/v1/pipelines").json["pipelines"]}
    assert list(pipelines) == ["two_stage", "single_shot"]
    assert [each["default"] for each in pipelines.values()] == [True, False]
    assert pipelines["single_shot"]["models"] == "single_shot"
    assert "one pass" in pipelines["single_shot"]["description"]


def test_models_lists_networks_with_their_kind(client, single_shot):
    models = {each["name"]: each for each in client.get("/v1/models").json["models"]}
    assert list(models) == ["single_shot", "stub_5", "stub_8"]
    assert [each["kind"] for each in models.values()] == ["single_shot", *["classifier"] * 2]
    assert models["single_shot"]["ready"]
    assert models["single_shot"]["default"]
    assert models["stub_8"]["default"]


def test_post_returns_and_stores_documented_json(client, single_shot):
    response = post(client, threshold="0.2")
    assert response.status_code == 201
    document = response.json
    assert (document["model"], document["detector"]) == ("single_shot", "single_shot")
    share = np.e / (np.e + 7)
    assert document["faces"] == [
        {"face_id": 1, "happiness": round(share, 2), "bbox": ["16", "0", "32", "16"]}
    ]
    assert client.get(response.location).json == document
    hidden = client.get(f"{response.location}?threshold=0.9").json
    assert hidden["faces"] == [{"face_id": 1, "bbox": ["16", "0", "32", "16"]}]
    found = client.get("/v1/images?model=single_shot&emotion=happiness").json["images"]
    assert [image["id"] for image in found] == [document["id"]]


def test_full_form_has_score_and_model(client, single_shot):
    document = post(client, view="full").json
    assert document["model"]["name"] == "single_shot"
    assert document["timings_ms"].keys() == {"decode", "detect", "store"}
    (face,) = document["faces"]
    assert face["detection_score"] == pytest.approx(1 / (1 + np.exp(-2)))
    assert sum(face["emotions"].values()) == pytest.approx(1)


def test_annotated_image_is_returned(client, single_shot):
    response = client.post(
        "/v1/images",
        data={"image": upload(image_file(64, 64)), "pipeline": "single_shot"},
        headers={"Accept": "image/png"},
    )
    assert response.status_code == 201
    assert response.content_type == "image/png"


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"pipeline": "three_stage"}, "pipeline", "known: single_shot, two_stage"),
        ({"pipeline": ""}, "pipeline", "Length"),
        ({"detector": "stub"}, "detector", "leave out detector"),
        ({"model": "stub_8"}, "model", "known: single_shot"),
        ({"pipeline": "two_stage", "model": "single_shot"}, "model", "known: stub_5, stub_8"),
    ],
)
def test_unsuitable_option_returns_422_and_stores_nothing(
    client, single_shot, fields, field, reason
):
    response = post(client, **fields)
    assert response.status_code == 422
    assert response.content_type == "application/problem+json"
    assert [error["field"] for error in response.json["errors"]] == [field]
    assert reason in response.json["detail"]
    assert client.get("/v1/images").json["images"] == []


def test_batch_reports_wrong_option_once(client, single_shot):
    images = [upload(image_file(64, 64)), upload(image_file(64, 64))]
    response = client.post("/v1/images", data={"image": images, "pipeline": "nope"})
    assert response.status_code == 422
    assert [error["field"] for error in response.json["errors"]] == ["pipeline"]


def test_missing_network_returns_503(client):
    response = post(client)
    assert response.status_code == 503
    assert "'single_shot' is not installed" in response.json["detail"]


def test_broken_weights_return_503(client, models_dir, single_shot):
    path = models_dir / "single_shot" / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    response = post(client)
    assert response.status_code == 503
    assert "checksum" in response.json["detail"]
    models = {each["name"]: each for each in client.get("/v1/models").json["models"]}
    assert not models["single_shot"]["ready"]


def test_setting_selects_default_pipeline(make_app, single_shot):
    client = make_app(pipeline="single_shot").test_client()
    response = client.post("/v1/images", data={"image": upload(image_file(64, 64))})
    assert response.json["detector"] == "single_shot"
    pipelines = client.get("/v1/pipelines").json["pipelines"]
    assert [each["name"] for each in pipelines if each["default"]] == ["single_shot"]


def test_unknown_default_pipeline_fails_startup(make_app):
    with pytest.raises(
        SettingError, match="EMOTION_PIPELINE must be one of two_stage, single_shot"
    ):
        make_app(pipeline="nope")
