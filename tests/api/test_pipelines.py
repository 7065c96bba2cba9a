"""The one-pass pipeline over HTTP: the same answers, the same store."""

import numpy as np
import pytest

from app.vision.cells import grid
from tests.conftest import picture, upload
from tests.graphs import write_single_shot

SIDE = 64


@pytest.fixture
def single_shot(models_dir):
    """A network that sees one happy face of 16 pixels in every picture."""
    answers = np.zeros((len(grid(SIDE)[0]), 13), np.float32)
    answers[:, 4] = -20
    answers[65, 4:7] = 2, 0, 1
    write_single_shot(models_dir / "single_shot", answers, side=SIDE)


def post(client, **fields):
    fields = {"image": upload(picture(64, 64)), "pipeline": "single_shot"} | fields
    return client.post("/v1/images", data=fields)


def test_pipelines_are_listed(client):
    pipelines = {each["name"]: each for each in client.get("/v1/pipelines").json["pipelines"]}
    assert list(pipelines) == ["two_stage", "single_shot"]
    assert [each["default"] for each in pipelines.values()] == [True, False]
    assert pipelines["single_shot"]["models"] == "single_shot"
    assert "one pass" in pipelines["single_shot"]["description"]


def test_its_networks_are_listed_with_their_kind(client, single_shot):
    models = {each["name"]: each for each in client.get("/v1/models").json["models"]}
    assert list(models) == ["single_shot", "stub_5", "stub_8"]
    assert [each["kind"] for each in models.values()] == ["single_shot", *["classifier"] * 2]
    assert models["single_shot"]["ready"]
    assert models["single_shot"]["default"]
    assert models["stub_8"]["default"]


def test_the_documented_json_comes_out_and_is_stored(client, single_shot):
    answer = post(client, threshold="0.2")
    assert answer.status_code == 201
    document = answer.json
    assert (document["model"], document["detector"]) == ("single_shot", "single_shot")
    share = np.e / (np.e + 7)
    assert document["faces"] == [
        {"face_id": 1, "happiness": round(share, 2), "bbox": ["16", "0", "32", "16"]}
    ]
    again = client.get(answer.location).json
    assert again == document
    hidden = client.get(f"{answer.location}?threshold=0.9").json
    assert hidden["faces"] == [{"face_id": 1, "bbox": ["16", "0", "32", "16"]}]
    found = client.get("/v1/images?model=single_shot&emotion=happiness").json["images"]
    assert [image["id"] for image in found] == [document["id"]]


def test_the_full_form_names_score_and_weights(client, single_shot):
    document = post(client, view="full").json
    assert document["model"]["name"] == "single_shot"
    assert document["timings_ms"].keys() == {"decode", "detect", "store"}
    (face,) = document["faces"]
    assert face["detection_score"] == pytest.approx(1 / (1 + np.exp(-2)))
    assert sum(face["emotions"].values()) == pytest.approx(1)


def test_the_annotated_picture_too(client, single_shot):
    answer = client.post(
        "/v1/images",
        data={"image": upload(picture(64, 64)), "pipeline": "single_shot"},
        headers={"Accept": "image/png"},
    )
    assert answer.status_code == 201
    assert answer.content_type == "image/png"


@pytest.mark.parametrize(
    ("fields", "field", "complaint"),
    [
        ({"pipeline": "three_stage"}, "pipeline", "known: single_shot, two_stage"),
        ({"pipeline": ""}, "pipeline", "Length"),
        ({"detector": "stub"}, "detector", "leave out detector"),
        ({"model": "stub_8"}, "model", "known: single_shot"),
        ({"pipeline": "two_stage", "model": "single_shot"}, "model", "known: stub_5, stub_8"),
    ],
)
def test_what_does_not_fit_is_said_and_leaves_nothing(
    client, single_shot, fields, field, complaint
):
    answer = post(client, **fields)
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert [error["field"] for error in answer.json["errors"]] == [field]
    assert complaint in answer.json["detail"]
    assert client.get("/v1/images").json["images"] == []


def test_several_pictures_name_the_wrong_option_once(client, single_shot):
    images = [upload(picture(64, 64)), upload(picture(64, 64))]
    answer = client.post("/v1/images", data={"image": images, "pipeline": "nope"})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json["errors"]] == ["pipeline"]


def test_a_network_that_is_not_there_is_the_operators_matter(client):
    answer = post(client)
    assert answer.status_code == 503
    assert "'single_shot' is not installed" in answer.json["detail"]


def test_broken_weights_are_refused_and_not_served(client, models_dir, single_shot):
    path = models_dir / "single_shot" / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    answer = post(client)
    assert answer.status_code == 503
    assert "checksum" in answer.json["detail"]
    models = {each["name"]: each for each in client.get("/v1/models").json["models"]}
    assert not models["single_shot"]["ready"]


def test_an_operator_can_make_it_the_default(make_app, single_shot):
    client = make_app(pipeline="single_shot").test_client()
    answer = client.post("/v1/images", data={"image": upload(picture(64, 64))})
    assert answer.json["detector"] == "single_shot"
    pipelines = client.get("/v1/pipelines").json["pipelines"]
    assert [each["name"] for each in pipelines if each["default"]] == ["single_shot"]


def test_an_unknown_default_stops_the_start(make_app):
    from app.settings import SettingError

    with pytest.raises(
        SettingError, match="EMOTION_PIPELINE must be one of two_stage, single_shot"
    ):
        make_app(pipeline="nope")
