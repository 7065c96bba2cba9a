"""/v1/images over HTTP, with a stub detector and stub networks."""

import base64
import io
import json
import tempfile

import numpy as np
import pytest
from PIL import Image

from tests.conftest import image_file, multipart_body, upload

HAPPY = image_file(50, gray=250)  # one face, which the stub classifies as happiness
TWO_FACES = image_file(100, gray=250)
EMPTY = image_file(20, 20)
ORIGINAL_EMOTIONS = {
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
}  # fmt: skip


def post(client, data=HAPPY, name="photo.png", **fields):
    return client.post("/v1/images", data={"image": upload(data, name), **fields})


def stored(client, **query):
    return client.get("/v1/images", query_string=query).json["images"]


def test_posted_image_is_stored_and_returned(client):
    response = post(client, threshold="0.2")
    assert response.status_code == 201
    assert response.location == f"/v1/images/{response.json['id']}"
    assert response.json["file_name"] == "photo.png"
    assert response.json["threshold"] == 0.2
    (face,) = response.json["faces"]
    assert face["face_id"] == 1
    assert face["happiness"] > 0.9
    assert face["bbox"] == ["5", "5", "45", "45"]
    assert client.get(response.location).json == response.json
    assert stored(client) == [response.json]


@pytest.mark.parametrize(
    "send",
    [
        lambda c: c.post("/v1/images?threshold=0.3", data={"image": upload(HAPPY, "a.png")}),
        lambda c: c.post("/v1/images", data={"image": upload(HAPPY, "a.png"), "threshold": 0.3}),
        lambda c: c.post(
            "/v1/images?threshold=0.3&file_name=a.png", data=HAPPY, content_type="image/png"
        ),
        lambda c: c.post(
            "/v1/images?threshold=0.3&file_name=a.png",
            data=HAPPY,
            content_type="application/octet-stream",
        ),
        lambda c: c.post(
            "/v1/images",
            json={
                "image": base64.b64encode(HAPPY).decode(),
                "threshold": 0.3,
                "file_name": "a.png",
            },
        ),
        lambda c: c.post(
            "/v1/images?threshold=0.3",
            json={
                "image": "data:image/png;base64," + base64.encodebytes(HAPPY).decode(),
                "file_name": "a.png",
            },
        ),
        lambda c: c.post(
            "/v1/images?threshold=0.3&file_name=a.png",
            json={"image": base64.b64encode(HAPPY).decode()},
        ),
    ],
    ids=["query", "form", "raw", "octets", "base64", "data URI", "JSON and query"],
)
def test_all_body_types_give_the_same_response(client, send):
    response = send(client)
    assert response.status_code == 201
    assert response.json["threshold"] == 0.3
    assert response.json["file_name"] == "a.png"
    assert response.json["faces"][0]["happiness"] > 0.9


def test_form_field_overrides_query(client):
    response = client.post(
        "/v1/images?threshold=0.9", data={"image": upload(HAPPY), "threshold": 0.1}
    )
    assert response.json["threshold"] == 0.1


@pytest.mark.parametrize(
    ("gray", "threshold", "shown"),
    [
        (255, 0, ORIGINAL_EMOTIONS),
        (255, "0.0", ORIGINAL_EMOTIONS),
        (255, "1e-3", {"happiness"}),
        (255, 0.5, {"happiness"}),
        (255, 1, {"happiness"}),  # 0.998 is shown as 1.0
        (255, "1.0", {"happiness"}),
        (180, 0.5, {"happiness"}),
        (180, 1, set()),  # 0.79
    ],
)
def test_thresholds_0_and_1_are_accepted(client, gray, threshold, shown):
    response = post(client, image_file(50, gray=gray), threshold=threshold)
    assert set(response.json["faces"][0]) - {"face_id", "bbox"} == shown


def test_threshold_defaults_to_setting(make_app):
    client = make_app(threshold=0.25).test_client()
    assert post(client).json["threshold"] == 0.25


def test_image_without_faces_returns_empty_list(client):
    response = post(client, EMPTY)
    assert (response.status_code, response.json["faces"]) == (201, [])


def test_one_pixel_image_is_accepted(client):
    response = post(client, image_file(1, 1))
    assert (response.status_code, response.json["faces"]) == (201, [])


def test_stored_image_can_be_read_with_another_threshold(client):
    post(client, image_file(50, gray=130), threshold=0.9)
    assert set(stored(client)[0]["faces"][0]) == {"face_id", "bbox"}
    (listed,) = stored(client, threshold=0)
    assert listed["threshold"] == 0
    assert set(listed["faces"][0]) == {"face_id", "bbox", *ORIGINAL_EMOTIONS}
    single = client.get(f"/v1/images/{listed['id']}?threshold=0.1").json
    assert single["threshold"] == 0.1


def test_full_view_has_all_keys(client):
    response = post(client, view="full").json
    assert (response["width"], response["height"]) == (50, 50)
    assert response["model"] == {
        "name": "stub_8",
        "version": "0.1",
        "sha256": response["model"]["sha256"],
    }
    assert list(response["timings_ms"]) == ["decode", "detect", "classify", "store"]
    (face,) = response["faces"]
    assert face["box"] == {"x1": 5, "y1": 5, "x2": 45, "y2": 45}
    assert face["detection_score"] == 0.75
    assert face["dominant"] == "happiness"
    assert set(face["emotions"]) == ORIGINAL_EMOTIONS
    assert sum(face["emotions"].values()) == pytest.approx(1)
    stored_image = client.get(f"/v1/images/{response['id']}?view=full").json
    assert stored_image["faces"] == response["faces"]
    assert list(stored_image["timings_ms"]) == ["decode", "detect", "classify"]


def test_model_option_selects_model(client):
    response = post(client, model="stub_5", threshold=0).json
    assert response["model"] == "stub_5"
    assert len(response["faces"][0]) == 2 + 5
    assert stored(client, model="stub_5") == [response]
    assert stored(client, model="stub_8") == []


def test_store_false_stores_nothing(client):
    response = post(client, store="false")
    assert response.status_code == 200
    assert "Location" not in response.headers
    assert "id" not in response.json
    assert response.json["faces"]
    assert stored(client) == []


@pytest.mark.parametrize(
    ("options", "faces", "dropped"),
    [
        ({}, 2, {}),
        ({"max_faces": "1"}, 1, {"max_faces": 1}),
        ({"min_face_px": "41"}, 0, {"min_face_px": 2}),
        ({"min_face_px": "1000"}, 0, {"min_face_px": 2}),
        ({"min_confidence": "0.75"}, 2, {}),
        ({"min_confidence": "1"}, 0, {"min_confidence": 2}),
    ],
)
def test_dropped_faces_are_counted_per_option(client, options, faces, dropped):
    response = post(client, TWO_FACES, view="full", **options)
    assert response.status_code == 201
    assert len(response.json["faces"]) == faces
    none_dropped = {"min_face_px": 0, "min_confidence": 0, "max_faces": 0}
    assert response.json["dropped"] == none_dropped | dropped
    stored_image = client.get(response.location, query_string={"view": "full"}).json
    assert stored_image["dropped"] == response.json["dropped"]
    assert "dropped" not in client.get(response.location).json


def test_max_faces_is_capped_by_setting(make_app):
    client = make_app(max_faces=1).test_client()
    assert len(post(client, TWO_FACES, max_faces="2").json["faces"]) == 1


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg"])
def test_accept_header_selects_annotated_image(client, media_type):
    response = client.post(
        "/v1/images", data={"image": upload(HAPPY)}, headers={"Accept": media_type}
    )
    assert (response.status_code, response.content_type) == (201, media_type)
    assert Image.open(io.BytesIO(response.data)).size == (50, 50)
    assert [response.location] == [f"/v1/images/{image['id']}" for image in stored(client)]


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html, */*;q=0.5", ""])
def test_json_is_the_default_format(client, accept):
    response = client.post("/v1/images", data={"image": upload(HAPPY)}, headers={"Accept": accept})
    assert response.content_type == "application/json"
    assert response.headers["Vary"] == "Accept"


def test_batch_returns_all_images(client):
    response = client.post(
        "/v1/images",
        data={"image": [upload(HAPPY, "a.png"), upload(TWO_FACES, "b.png")], "threshold": 0.3},
    )
    assert response.status_code == 201
    assert [image["file_name"] for image in response.json["images"]] == ["a.png", "b.png"]
    assert [len(image["faces"]) for image in response.json["images"]] == [1, 2]
    assert response.json["errors"] == []
    assert stored(client) == response.json["images"][::-1]


def test_invalid_image_does_not_affect_rest_of_batch(client):
    response = client.post(
        "/v1/images",
        data={"image": [upload(HAPPY, "good.png"), upload(HAPPY[:-30], "bad.png")]},
    )
    assert response.status_code == 201
    assert [image["file_name"] for image in response.json["images"]] == ["good.png"]
    (error,) = response.json["errors"]
    assert (error["index"], error["file_name"], error["status"]) == (1, "bad.png", 422)
    assert stored(client) == response.json["images"]


def test_batch_of_invalid_images_returns_problem(client):
    response = client.post(
        "/v1/images", data={"image": [upload(HAPPY[:-30]), upload(b"text"), upload(b"")]}
    )
    assert response.status_code == 422
    assert response.content_type == "application/problem+json"
    assert [error["field"] for error in response.json["errors"]] == [
        "image[0]", "image[1]", "image[2]",
    ]  # fmt: skip
    assert stored(client) == []


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("photo.jpg", "photo.jpg"),
        ("/etc/passwd", "passwd"),
        ("C:\\Users\\me\\cat.png", "cat.png"),
        ("naïve 😀.png", "naïve 😀.png"),
        ("a\u202eb\x07.png", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}.png"),
        ("x" * 600, "x" * 255),
        ("   ", "unnamed"),
    ],
)
def test_file_name_is_sanitized(client, sent, expected):
    document = {"image": base64.b64encode(HAPPY).decode(), "file_name": sent}
    assert client.post("/v1/images", json=document).json["file_name"] == expected


def test_delete_erases_image_and_faces(client):
    response = post(client)
    assert client.delete(response.location).status_code == 204
    assert client.get(response.location).status_code == 404
    assert client.delete(response.location).status_code == 404
    assert stored(client) == []
    assert client.get("/v1/faces").json["faces"] == []


def test_delete_by_filter_erases_only_matching_images(client):
    for data, name in ((HAPPY, "a.png"), (TWO_FACES, "a.png"), (HAPPY, "b.png")):
        post(client, data, name)
    assert client.delete("/v1/images?file_name=a.png&min_faces=2").json == {"erased": 1}
    assert client.delete("/v1/images?emotion=anger").json == {"erased": 0}
    assert [image["file_name"] for image in stored(client)] == ["b.png", "a.png"]
    assert client.delete("/v1/images?since=2000-01-01T00:00:00Z").json == {"erased": 2}
    assert stored(client) == []
    assert client.get("/v1/summary").json["spans"] == []


def test_pages_are_linked_by_cursor_and_link_header(client):
    ids = [post(client).json["id"] for _ in range(5)][::-1]
    listed, url = [], "/v1/images?page_size=2&threshold=0.1"
    while url:
        response = client.get(url)
        listed += [image["id"] for image in response.json["images"]]
        assert {image["threshold"] for image in response.json["images"]} == {0.1}
        link = response.headers.get("Link")
        assert (link is None) == (response.json["next_cursor"] is None)
        url = link and link.removeprefix("<").removesuffix('>; rel="next"')
        assert url is None or response.json["next_cursor"] in url
    assert listed == ids


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("emotion=happiness", 2),
        ("emotion=neutral", 1),
        ("emotion=happiness&min_faces=2", 1),
        ("min_probability=0.99", 2),
        ("file_name=dark.png", 1),
        ("since=2000-01-01T00:00:00Z", 4),
        ("until=2000-01-01T00:00:00%2B02:00", 0),
    ],
)
def test_filters_select_images(client, query, count):
    post(client, HAPPY)
    post(client, TWO_FACES)
    post(client, image_file(50, gray=0), "dark.png")
    post(client, EMPTY)
    assert len(client.get(f"/v1/images?{query}").json["images"]) == count


def test_keys_of_face_have_documented_order(client):
    text = post(client, threshold=0.2).get_data(as_text=True)
    (face,) = json.loads(text)["faces"]
    assert list(face) == ["face_id", "happiness", "bbox"]


def test_large_upload_is_not_written_to_disk(client, monkeypatch):
    """By default, Werkzeug writes files from 500 kB on to a temporary file."""
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, "PNG")
    body = multipart_body(data.getvalue())
    assert len(body["data"]) > 1_000_000

    def fail(*_args, **_kwargs):
        raise AssertionError("a temporary file was created")

    for name in ("TemporaryFile", "SpooledTemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, fail)
    monkeypatch.setattr("werkzeug.formparser.SpooledTemporaryFile", fail, raising=False)
    monkeypatch.setattr("werkzeug.formparser.TemporaryFile", fail, raising=False)
    assert client.post("/v1/images", **body).status_code == 201
