"""Faces, summary, models, detectors, the original client's call, health and the document."""

import base64
import csv
import hashlib
import io
import json

import pytest

from app.settings import ROOT
from tests.conftest import card_document, picture, upload, write_model

HAPPY = picture(50, gray=250)
TWO_FACES = picture(100, gray=250)
DARK = picture(50, gray=0)


def post(client, data=HAPPY, name="photo.png", **fields):
    return client.post("/v1/images", data={"image": upload(data, name), **fields}).json


def test_faces_are_found_across_images(client):
    first, second = post(client, TWO_FACES, "two.png"), post(client, DARK)
    answer = client.get("/v1/faces").json
    assert answer["next_cursor"] is None
    assert [face["image_id"] for face in answer["faces"]] == [
        second["id"],
        first["id"],
        first["id"],
    ]
    found = answer["faces"][1]
    assert found["file_name"] == "two.png"
    assert found["created_at"] == first["created_at"]
    assert found["face"] == first["faces"][0]


def test_faces_take_filters_threshold_view_and_pages(client):
    post(client, TWO_FACES)
    post(client, DARK)
    happy = client.get("/v1/faces?emotion=happiness&page_size=1").json
    assert len(happy["faces"]) == 1
    rest = client.get(f"/v1/faces?emotion=happiness&cursor={happy['next_cursor']}").json
    assert [face["face"]["face_id"] for face in rest["faces"]] == [2]
    full = client.get("/v1/faces?view=full").json["faces"][0]["face"]
    assert full["dominant"] == "neutral"
    assert len(client.get("/v1/faces?threshold=0").json["faces"][0]["face"]) == 10


def test_faces_as_csv(client):
    image = client.post(
        "/v1/images",
        query_string={"file_name": '=cmd|"x"!A1'},
        data=TWO_FACES,
        content_type="image/png",
    ).json
    post(client, DARK, model="stub_5")
    answer = client.get("/v1/faces", headers={"Accept": "text/csv"})
    assert answer.content_type == "text/csv; charset=utf-8"
    dark, one, two = csv.DictReader(io.StringIO(answer.get_data(as_text=True)))
    assert one["image_id"] == str(image["id"])
    assert one["file_name"] == '\'=cmd|"x"!A1'
    assert [float(one[key]) for key in ("x1", "y1", "x2", "y2")] == [5, 5, 45, 45]
    assert (one["face_id"], two["face_id"]) == ("1", "2")
    assert one["created_at"] == image["created_at"]
    assert one["dominant"] == "happiness"
    assert float(one["happiness"]) > 0.9
    assert dark["contempt"] == ""  # its model does not know it
    assert float(dark["anger"]) < 0.5


def test_csv_of_nothing_is_its_header(client):
    lines = client.get("/v1/faces", headers={"Accept": "text/csv"}).get_data(as_text=True)
    assert lines.startswith("image_id,file_name,")
    assert len(lines.splitlines()) == 1


@pytest.mark.parametrize("by", ["hour", "day", "model"])
def test_summary(client, by):
    post(client, TWO_FACES)
    post(client, DARK)
    answer = client.get(f"/v1/summary?by={by}").json
    assert answer["by"] == by
    (span,) = answer["spans"]
    assert (span["images"], span["faces"]) == (2, 3)
    assert span["emotions"]["happiness"]["faces"] == 2
    assert 0.5 < span["emotions"]["happiness"]["mean_probability"] < 0.7
    assert span["emotions"]["contempt"]["faces"] == 0


def test_summary_of_nothing(client):
    assert client.get("/v1/summary").json == {"by": "day", "spans": []}


def test_models_are_listed_with_their_cards(client, models_dir):
    (write_model(models_dir, "broken") / "model.onnx").unlink()
    models = {model["name"]: model for model in client.get("/v1/models").json["models"]}
    assert models["stub_8"]["ready"]
    assert models["stub_8"]["default"]
    assert models["stub_8"]["card"]["licence"] == "none"
    assert not models["stub_5"]["default"]
    assert not models["broken"]["ready"]
    assert "not installed" in models["broken"]["problem"]


def test_detectors_are_listed(client):
    detectors = {each["name"]: each for each in client.get("/v1/detectors").json["detectors"]}
    assert detectors["haar_default"]["ready"]
    assert detectors["stub"]["default"]
    assert "OpenCV" in detectors["haar_default"]["description"]


def test_a_detector_without_its_weights_says_what_to_do(client):
    detectors = {each["name"]: each for each in client.get("/v1/detectors").json["detectors"]}
    assert not detectors["yunet"]["ready"]
    assert "models install" in detectors["yunet"]["problem"]
    answer = client.post("/v1/images", data={"image": upload(HAPPY), "detector": "yunet"})
    assert answer.status_code == 503
    assert "models install" in answer.json["detail"]
    assert client.get("/v1/images").json["images"] == []


def test_an_installed_detector_is_no_model_and_serves(client, models_dir, shared):
    folder = models_dir / "yunet"
    folder.mkdir()
    weights = (shared / "yunet" / "yunet_n_320.onnx").read_bytes()
    document = card_document("yunet") | {"kind": "detector", "input": {"size": 320}}
    document["weights"] = {"file": "model.onnx", "sha256": hashlib.sha256(weights).hexdigest()}
    (folder / "card.json").write_text(json.dumps(document))
    (folder / "model.onnx").write_bytes(weights)
    photograph = (ROOT / "docs" / "astronaut.jpg").read_bytes()
    answer = client.post(
        "/v1/images", data={"image": upload(photograph), "detector": "yunet", "view": "full"}
    )
    assert answer.status_code == 201
    (face,) = answer.json["faces"]
    assert 160 < face["box"]["x1"] < 215
    assert face["detection_score"] > 0.8
    names = [model["name"] for model in client.get("/v1/models").json["models"]]
    assert names == ["stub_5", "stub_8"]
    answer = client.post("/v1/images", data={"image": upload(HAPPY), "model": "yunet"})
    assert answer.status_code == 422


def test_the_original_clients_call(client):
    """What kurshakuz/emotion_recognition's client.py sends: JSON that asks for text."""
    body = json.dumps(
        {"image": base64.b64encode(HAPPY).decode("utf8"), "threshold": 0.1, "file_name": "test.jpg"}
    )
    headers = {"Content-type": "application/json", "Accept": "text/plain"}
    answer = client.post("/index", data=body, headers=headers)
    assert answer.status_code == 200
    reply = json.loads(answer.get_data(as_text=True))
    assert reply["message"] == "image received"
    assert reply["file_name"] == "test.jpg"
    assert reply["threshold"] == 0.1
    (stored,) = client.get("/v1/images").json["images"]
    assert stored == {key: value for key, value in reply.items() if key != "message"}


def test_alive_says_nothing_of_ready(client):
    assert client.get("/healthz").json == {"status": "alive"}


def test_ready_once_the_model_is_warm_and_the_database_at_head(client):
    assert client.application.extensions["engine"].problem
    assert client.get("/readyz").json == {"status": "ready"}
    assert client.application.extensions["engine"].problem is None


def test_ready_says_which_other_models_cannot_be_used(client, models_dir):
    (models_dir / "stub_5" / "model.onnx").unlink()
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json["status"] == "ready"
    assert list(answer.json["unusable_models"]) == ["stub_5"]
    assert "not installed" in answer.json["unusable_models"]["stub_5"]


def test_not_ready_without_weights_and_ready_when_they_come(client, models_dir):
    weights = models_dir / "stub_8" / "model.onnx"
    weights.unlink()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "not installed" in answer.json["detail"]
    assert answer.headers["Retry-After"]
    weights.write_bytes(b"stub")
    assert client.get("/readyz").status_code == 200


def test_not_ready_before_migrating(make_app, tmp_path):
    client = make_app(database_url=f"sqlite:///{tmp_path / 'new.db'}").test_client()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "flask db upgrade" in answer.json["detail"]


def test_docs_need_nothing_from_elsewhere(client):
    page = client.get("/docs").get_data(as_text=True)
    assert "http" not in page
    assert "<script>" not in page  # no inline script: a strict policy can forbid them
    with client.get("/docs/start.js") as script:
        assert script.content_type.startswith("text/javascript")
        assert '"../openapi.json"' in script.get_data(as_text=True)
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js"):
        assert f'"docs/assets/{asset}"' in page
        with client.get(f"/docs/assets/{asset}") as answer:
            assert answer.status_code == 200
    assert client.get("/docs/assets/../__init__.py").status_code == 404


@pytest.mark.parametrize("path", ["/v1/images", "/nope", "/docs", "/healthz", "/openapi.json"])
def test_every_answer_says_what_a_browser_may_do_with_it(client, path):
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert not {"Access-Control-Allow-Origin", "Set-Cookie"} & set(headers.keys())


def test_assets_may_be_cached(client):
    with client.get("/docs/assets/swagger-ui.css") as answer:
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["ETag"]
