"""A model with other labels, and the names that the API lists for the web page and the client."""

import csv
import io

import pytest

from app.api.documents import image_document
from app.api.presentation import PresentationOptions
from app.store import queries
from app.vision.aggregators import AGGREGATORS, DEFAULT
from app.vision.types import Box, Face, Scores
from tests.conftest import image_file, upload, write_model
from tests.store.test_queries import analysis

FEELINGS = ("joy", "calm", "boredom", "pride", "doubt", "envy", "awe")
CSV = {"Accept": "text/csv"}


@pytest.fixture
def posted(client, models_dir):
    """The image object of an image that a model with other labels classified."""
    write_model(models_dir, "feelings", FEELINGS)
    data = {"image": upload(image_file(50, gray=250)), "model": "feelings", "view": "full"}
    response = client.post("/v1/images", data=data)
    assert response.status_code == 201
    return response.json


def test_labels_of_model_are_in_all_responses(client, posted):
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
    models = {model["name"]: model for model in client.get("/v1/models").json["models"]}
    model = models["feelings"]
    assert tuple(model["card"]["labels"]) == FEELINGS


def test_aggregators_are_listed_and_work(client, posted):
    listed = client.get("/v1/aggregators").json["aggregators"]
    assert [each["name"] for each in listed] == list(AGGREGATORS)
    assert [each["name"] for each in listed if each["default"]] == [DEFAULT]
    for each in listed:
        path = f"/v1/images/{posted['id']}/mood?aggregator={each['name']}"
        assert client.get(path).json["aggregator"] == each["name"]


def test_pipelines_list_takes_detector(client):
    pipelines = client.get("/v1/pipelines").json["pipelines"]
    assert {pipeline["name"]: pipeline["takes_detector"] for pipeline in pipelines} == {
        "two_stage": True,
        "single_shot": False,
    }


def test_only_independent_scores_have_exclusive_false(client, app):
    face = Face(Box(0, 0, 9, 9), Scores({"joy": 0.9, "awe": 0.8}, exclusive=False))
    independent = analysis(face)
    (full,) = image_document(independent, PresentationOptions(full=True))["faces"]
    assert full["exclusive"] is False
    (documented,) = image_document(independent, PresentationOptions())["faces"]
    assert documented == {"face_id": 1, "joy": 0.9, "awe": 0.8, "bbox": ["0", "0", "9", "9"]}
    with app.app_context():
        stored = queries.save(analysis(Face(face.box, Scores({"joy": 0.9, "awe": 0.1}))))
    (exclusive,) = client.get(f"/v1/images/{stored.id}?view=full").json["faces"]
    assert "exclusive" not in exclusive
    assert "exclusive" not in client.get("/v1/faces", headers=CSV).text


def test_batch_is_returned_as_json_only(client):
    def post(accept):
        data = {"image": [upload(image_file()), upload(image_file())]}
        return client.post("/v1/images", data=data, headers={"Accept": accept})

    detail = "the response to several images is available as application/json"
    rejected = post("image/png")
    assert (rejected.status_code, rejected.json["detail"]) == (406, detail)
    assert client.get("/v1/images").json["images"] == []
    accepted = post("image/png, application/json;q=0.5")
    assert accepted.status_code == 201
    assert len(accepted.json["images"]) == 2
    assert accepted.headers["Vary"] == "Accept"
