"""The OpenAPI document as client generators need it. tests/generated/ runs two generators."""

import re

import pytest

METHODS = {"get", "post", "put", "patch", "delete"}
# Generated clients have functions with these names. New names may be added; none may change.
OPERATION_IDS = {
    "getImages": "GET /v1/images",
    "postImages": "POST /v1/images",
    "deleteImages": "DELETE /v1/images",
    "getImage": "GET /v1/images/{image_id}",
    "deleteImage": "DELETE /v1/images/{image_id}",
    "getKeptPicture": "GET /v1/images/{image_id}/picture",
    "getImageMood": "GET /v1/images/{image_id}/mood",
    "getFaces": "GET /v1/faces",
    "getSummary": "GET /v1/summary",
    "getModels": "GET /v1/models",
    "getDetectors": "GET /v1/detectors",
    "getPipelines": "GET /v1/pipelines",
    "getAggregators": "GET /v1/aggregators",
    "postIndex": "POST /index",
    "getHealth": "GET /healthz",
    "getReadiness": "GET /readyz",
    "getMetrics": "GET /metrics",
}


@pytest.fixture
def document(client):
    return client.get("/openapi.json").json


@pytest.fixture
def operations(document):
    return {
        f"{method.upper()} {path}": operation
        for path, each in document["paths"].items()
        for method, operation in each.items()
        if method in METHODS
    }


def test_operation_ids_are_unique_and_stable(operations):
    ids = [operation["operationId"] for operation in operations.values()]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+[A-Za-z]+", each) for each in ids)
    found = {operation["operationId"]: name for name, operation in operations.items()}
    assert OPERATION_IDS.items() <= found.items()


def test_document_lists_server(document):
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": "/"}]


def test_each_body_has_a_schema(operations):
    for name, operation in operations.items():
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for body in bodies:
            for media_type, content in body.get("content", {}).items():
                assert content.get("schema"), f"{name}: {media_type}"


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg"])
@pytest.mark.parametrize("status", ["200", "201"])
def test_annotated_image_is_binary(operations, status, media_type):
    content = operations["POST /v1/images"]["responses"][status]["content"]
    assert next(iter(content)) == "application/json"
    assert content[media_type]["schema"] == {
        "type": "string",
        "format": "binary",
        "contentMediaType": media_type,
    }


def test_post_images_returns_image_or_batch(operations):
    for status in ("200", "201"):
        content = operations["POST /v1/images"]["responses"][status]["content"]
        forms = content["application/json"]["schema"]["oneOf"]
        assert [form["$ref"].rsplit("/")[-1] for form in forms] == ["Image", "Batch"]


def test_each_error_is_a_problem_document(document, operations):
    problems = document["components"]["responses"]
    for name, operation in operations.items():
        errors = {
            status: response
            for status, response in operation["responses"].items()
            if not status.startswith("2")
        }
        assert "default" in errors, name
        for status, response in errors.items():
            content = problems[response["$ref"].rsplit("/")[-1]]["content"]
            (schema,) = (each["schema"] for each in content.values())
            assert list(content) == ["application/problem+json"], f"{name} {status}"
            assert schema == {"$ref": "#/components/schemas/Problem"}


def test_additional_keys_of_face_are_probabilities(document):
    schema = document["components"]["schemas"]["Face"]
    assert schema["required"] == ["bbox", "face_id"]
    assert schema["additionalProperties"] == {"type": "number", "minimum": 0, "maximum": 1}


@pytest.mark.parametrize("name", ["models", "detectors", "pipelines", "aggregators"])
def test_listed_items_have_title_and_description(client, name):
    for each in client.get(f"/v1/{name}").json[name]:
        assert each["title"][0].isupper()
        assert "_" not in each["title"]
        assert len(each["title"]) <= 40
        if each["name"] != "stub":
            assert re.fullmatch(r"[A-Z0-9].{10,200}\.", each["description"])


def test_unusable_model_has_title_and_description(make_app, models_dir):
    (models_dir / "broken").mkdir()
    (models_dir / "broken" / "card.json").write_text("{")
    models = make_app().test_client().get("/v1/models").json["models"]
    broken = next(each for each in models if each["name"] == "broken")
    assert (broken["title"], broken["ready"]) == ("Broken", False)
    assert broken["description"] == "This model cannot be used at present."
    usable = next(each for each in models if each["name"] == "stub_5")
    assert usable["title"] == "Stub 5"
    assert usable["description"] == (
        "Scores 5 emotions: neutral, happiness, surprise, sadness, anger."
    )
