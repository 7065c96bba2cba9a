"""The documented JSON: the exact form that clients parse, and the OpenAPI document."""

import json
from dataclasses import replace
from pathlib import Path

import emotions
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.documents import ImagePageSchema, image_document
from app.api.presentation import PresentationOptions, ShownPage
from app.store.records import Page
from app.vision.types import Analysis, Box, Face, ModelRef, Scores
from tests.conftest import image_file, upload

# tests/web/ tests the web page with the same table.
THRESHOLDS = json.loads((Path(__file__).parent / "thresholds.json").read_text())["rows"]
DOCUMENTED = json.loads((Path(__file__).parent / "documented.json").read_text())
REST = {"surprise": 0.0, "anger": 0.0, "disgust": 0.0, "fear": 0.0, "contempt": 0.0}


def face(box, **probabilities):
    rest = 1 - sum(probabilities.values())
    scores = {"neutral": rest, "happiness": 0.0, "sadness": 0.0} | probabilities | REST
    return Face(Box(*box), Scores(scores))


def analysis(*faces):
    return Analysis(
        file_name="test.jpg",
        threshold=0.5,
        width=300,
        height=259,
        faces=faces,
        model=ModelRef("net", "1", "0" * 64),
        detector="haar",
    )


def test_documented_example_is_reproduced_byte_for_byte():
    example = analysis(
        face((109, 160, 192, 243), happiness=0.9987),
        face((207, 157, 290, 240), sadness=0.5249),
        face((104, 22, 195, 113), happiness=0.3, sadness=0.3),
    )
    document = ImagePageSchema().dump(ShownPage(Page([example], None), PresentationOptions()))
    (image,) = document["images"]
    documented = {key: image[key] for key in ("file_name", "threshold", "faces")}
    assert json.dumps({"images": [documented]}) == json.dumps(DOCUMENTED)


def test_full_form_has_same_key_order_everywhere(client):
    data = {"image": upload(image_file(100, gray=250)), "view": "full", "mood": "mean"}
    posted = client.post("/v1/images", data=data)
    read = client.get(f"{posted.location}?view=full&mood=mean")
    (listed,) = client.get("/v1/images?view=full&mood=mean").json["images"]
    assert (
        list(posted.json)
        == list(read.json)
        == list(listed)
        == [
            *("id", "file_name", "threshold", "created_at", "model", "detector", "width", "height"),
            *("dropped", "rotation", "timings_ms", "faces", "mood"),
        ]
    )
    assert list(posted.json["faces"][0]) == [
        *("face_id", "box", "detection_score", "dominant", "emotions", "valence", "arousal")
    ]
    assert list(posted.json["model"]) == ["name", "version", "sha256"]
    assert list(posted.json["mood"]) == list(read.json["mood"])


def test_only_image_object_has_additional_keys():
    document = image_document(replace(analysis(), id=7), PresentationOptions())
    assert list(document) == [
        "id", "file_name", "threshold", "created_at", "model", "detector", "faces",
    ]  # fmt: skip
    assert document["created_at"].endswith("Z")


@pytest.mark.parametrize(("probability", "threshold", "shown"), THRESHOLDS)
def test_threshold_is_compared_with_rounded_value(probability, threshold, shown):
    joyful = Face(Box(0, 0, 1, 1), Scores({"joy": probability, "calm": 1 - probability}))
    assert joyful.emotions.rounded(threshold).get("joy") == shown
    document = image_document(replace(analysis(joyful), threshold=threshold), PresentationOptions())
    assert document["faces"][0].get("joy") == shown


@pytest.mark.parametrize(("probability", "threshold", "shown"), THRESHOLDS)
def test_client_compares_threshold_like_service(probability, threshold, shown):
    joyful = emotions.Face(1, (0, 0, 1, 1), "joy", {"joy": probability, "calm": 1 - probability})
    assert joyful.shown(threshold).get("joy") == shown


@given(st.floats(0, 1), st.floats(0, 1))
def test_shown_values_are_never_below_threshold(probability, threshold):
    scores = Scores({"joy": probability, "calm": 1 - probability})
    shown = scores.rounded(threshold)
    assert all(value >= threshold for value in shown.values())
    hidden = scores.keys() - shown.keys()
    assert all(round(scores[name], 2) < threshold for name in hidden)


@given(st.tuples(*[st.floats(-50, 5000)] * 2), st.tuples(*[st.floats(1, 900)] * 2))
def test_bbox_is_four_strings_of_whole_pixels(corner, size):
    box = (*corner, corner[0] + size[0], corner[1] + size[1])
    (shown,) = image_document(analysis(face(box)), PresentationOptions())["faces"]
    assert all(isinstance(value, str) and str(int(value)) == value for value in shown["bbox"])
    assert [abs(int(value) - exact) <= 0.5 for value, exact in zip(shown["bbox"], box, strict=True)]


@pytest.fixture
def document(client):
    return client.get("/openapi.json").json


def validate(document, response, path, method="get", status="200"):
    """Validate the JSON of a response with the schema in the OpenAPI document."""
    content = document["paths"][path][method]["responses"][status]["content"]
    schema = content["application/json"]["schema"] | {"components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(response.json)


def test_responses_match_openapi_document(client, document):
    post = {"image": upload(image_file(100, gray=250)), "threshold": "0.2"}
    validate(document, client.post("/v1/images", data=post), "/v1/images", "post", "201")
    several = {"image": [upload(image_file()), upload(b"")]}
    validate(document, client.post("/v1/images", data=several), "/v1/images", "post", "201")
    for query in ("", "?view=full"):
        validate(document, client.get(f"/v1/images{query}"), "/v1/images")
        validate(document, client.get(f"/v1/images/1{query}"), "/v1/images/{image_id}")
        validate(document, client.get(f"/v1/faces{query}"), "/v1/faces")
    for path in (
        *("/v1/summary", "/v1/models", "/v1/detectors", "/v1/pipelines", "/v1/aggregators"),
        *("/healthz", "/readyz"),
    ):
        validate(document, client.get(path), path)
    validate(document, client.get("/v1/summary?mood=mean"), "/v1/summary")


def test_problems_match_openapi_document(client, document):
    schema = {"$ref": "#/components/schemas/Problem", "components": document["components"]}
    for response in (client.get("/v1/images/9"), client.get("/v1/images?threshold=x")):
        jsonschema.Draft202012Validator(schema).validate(response.json)
    error = document["components"]["responses"]["DEFAULT_ERROR"]["content"]
    assert list(error) == ["application/problem+json"]
