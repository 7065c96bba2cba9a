"""A model with other labels, and the names that the API lists for page and client."""

import csv
import io

import pytest

from app.api.documents import image_document
from app.api.view import View
from app.store import queries
from app.vision.aggregators import AGGREGATORS, DEFAULT
from app.vision.types import Box, Face, Scores
from tests.conftest import picture, upload, write_model
from tests.store.test_queries import analysis

FEELINGS = ("joy", "calm", "boredom", "pride", "doubt", "envy", "awe")
CSV = {"Accept": "text/csv"}


@pytest.fixture
def posted(client, models_dir):
    """The image object of an image that was classified with other labels."""
    write_model(models_dir, "feelings", FEELINGS)
    data = {"image": upload(picture(50, gray=250)), "model": "feelings", "view": "full"}
    answer = client.post("/v1/images", data=data)
    assert answer.status_code == 201
    return answer.json


def test_seven_other_labels_are_in_every_answer(client, posted):
    (face,) = posted["faces"]
    assert tuple(face["emotions"]) == FEELINGS
    dominant = face["dominant"]
    assert client.get(f"/v1/images?emotion={dominant}").json["images"][0]["id"] == posted["id"]
    assert client.get("/v1/images?emotion=happiness").json["images"] == []
    rows = csv.DictReader(io.StringIO(client.get("/v1/faces", headers=CSV).text))
    (row,) = rows
    assert rows.fieldnames[-len(FEELINGS) :] == sorted(FEELINGS)
    assert float(row[dominant]) == face["emotions"][dominant]
    (span,) = client.get("/v1/summary?mood=mean").json["spans"]
    assert set(span["emotions"]) == set(FEELINGS)
    assert span["mood"]["mood"] == dominant
    (model,) = (it for it in client.get("/v1/models").json["models"] if it["name"] == "feelings")
    assert tuple(model["card"]["labels"]) == FEELINGS


def test_aggregators_are_listed_and_work(client, posted):
    listed = client.get("/v1/aggregators").json["aggregators"]
    assert [each["name"] for each in listed] == list(AGGREGATORS)
    assert [each["name"] for each in listed if each["default"]] == [DEFAULT]
    for each in listed:
        path = f"/v1/images/{posted['id']}/mood?aggregator={each['name']}"
        assert client.get(path).json["aggregator"] == each["name"]


def test_pipelines_say_whether_a_detector_can_be_chosen(client):
    pipelines = client.get("/v1/pipelines").json["pipelines"]
    assert {it["name"]: it["takes_detector"] for it in pipelines} == {
        "two_stage": True,
        "single_shot": False,
    }


def test_only_independent_probabilities_are_marked(client, app):
    face = Face(Box(0, 0, 9, 9), Scores({"joy": 0.9, "awe": 0.8}, exclusive=False))
    found = analysis(face)
    (full,) = image_document(found, View(full=True))["faces"]
    assert full["exclusive"] is False
    (shown,) = image_document(found, View())["faces"]
    assert shown == {"face_id": 1, "joy": 0.9, "awe": 0.8, "bbox": ["0", "0", "9", "9"]}
    with app.app_context():
        stored = queries.save(analysis(Face(face.box, Scores({"joy": 0.9, "awe": 0.1}))))
    (usual,) = client.get(f"/v1/images/{stored.id}?view=full").json["faces"]
    assert "exclusive" not in usual
    assert "exclusive" not in client.get("/v1/faces", headers=CSV).text


def test_several_images_are_answered_in_any_format_that_has_them(client):
    def post(accept):
        data = {"image": [upload(picture()), upload(picture())]}
        return client.post("/v1/images", data=data, headers={"Accept": accept})

    refused = post("image/png")
    assert refused.status_code == 406
    assert refused.json["detail"] == "the answer to several images can be application/json"
    assert client.get("/v1/images").json["images"] == []
    answered = post("image/png, application/json;q=0.5")
    assert answered.status_code == 201
    assert len(answered.json["images"]) == 2
    assert answered.headers["Vary"] == "Accept"
