"""/v1/images through HTTP, on stubs."""

import base64
import io
import json
import tempfile

import numpy as np
import pytest
from PIL import Image

from tests.conftest import multipart_body, picture, upload

HAPPY = picture(50, gray=250)  # one face that the stub calls happy
TWO_FACES = picture(100, gray=250)
EMPTY = picture(20, 20)
ORIGINAL_EMOTIONS = {
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
}  # fmt: skip


def post(client, data=HAPPY, name="photo.png", **fields):
    return client.post("/v1/images", data={"image": upload(data, name), **fields})


def stored(client, **query):
    return client.get("/v1/images", query_string=query).json["images"]


def test_a_posted_picture_is_answered_stored_and_served_again(client):
    answer = post(client, threshold="0.2")
    assert answer.status_code == 201
    assert answer.location == f"/v1/images/{answer.json['id']}"
    assert answer.json["file_name"] == "photo.png"
    assert answer.json["threshold"] == 0.2
    (face,) = answer.json["faces"]
    assert face["face_id"] == 1
    assert face["happiness"] > 0.9
    assert face["bbox"] == ["5", "5", "45", "45"]
    assert client.get(answer.location).json == answer.json
    assert stored(client) == [answer.json]


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
def test_every_way_to_send_a_picture_gives_the_same_answer(client, send):
    answer = send(client)
    assert answer.status_code == 201
    assert answer.json["threshold"] == 0.3
    assert answer.json["file_name"] == "a.png"
    assert answer.json["faces"][0]["happiness"] > 0.9


def test_a_field_wins_over_the_query(client):
    answer = client.post(
        "/v1/images?threshold=0.9", data={"image": upload(HAPPY), "threshold": 0.1}
    )
    assert answer.json["threshold"] == 0.1


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
def test_thresholds_at_the_ends_are_thresholds(client, gray, threshold, shown):
    answer = post(client, picture(50, gray=gray), threshold=threshold)
    assert set(answer.json["faces"][0]) - {"face_id", "bbox"} == shown


def test_without_a_threshold_the_settings_decide(make_app):
    client = make_app(threshold=0.25).test_client()
    assert post(client).json["threshold"] == 0.25


def test_no_face_is_an_answer_and_no_error(client):
    answer = post(client, EMPTY)
    assert (answer.status_code, answer.json["faces"]) == (201, [])


def test_a_picture_of_one_pixel_is_a_picture(client):
    answer = post(client, picture(1, 1))
    assert (answer.status_code, answer.json["faces"]) == (201, [])


def test_any_threshold_can_be_applied_again(client):
    post(client, picture(50, gray=130), threshold=0.9)
    assert set(stored(client)[0]["faces"][0]) == {"face_id", "bbox"}
    again = stored(client, threshold=0)[0]
    assert again["threshold"] == 0
    assert set(again["faces"][0]) == {"face_id", "bbox", *ORIGINAL_EMOTIONS}
    one = client.get(f"/v1/images/{again['id']}?threshold=0.1").json
    assert one["threshold"] == 0.1


def test_the_full_view_says_everything(client):
    answer = post(client, view="full").json
    assert (answer["width"], answer["height"]) == (50, 50)
    assert answer["model"] == {
        "name": "stub_8",
        "version": "0.1",
        "sha256": answer["model"]["sha256"],
    }
    assert list(answer["timings_ms"]) == ["decode", "detect", "classify", "store"]
    (face,) = answer["faces"]
    assert face["box"] == {"x1": 5, "y1": 5, "x2": 45, "y2": 45}
    assert face["detection_score"] == 0.75
    assert face["dominant"] == "happiness"
    assert set(face["emotions"]) == ORIGINAL_EMOTIONS
    assert sum(face["emotions"].values()) == pytest.approx(1)
    again = client.get(f"/v1/images/{answer['id']}?view=full").json
    assert again["faces"] == answer["faces"]
    assert list(again["timings_ms"]) == ["decode", "detect", "classify"]


def test_the_named_model_answers(client):
    answer = post(client, model="stub_5", threshold=0).json
    assert answer["model"] == "stub_5"
    assert len(answer["faces"][0]) == 2 + 5
    assert stored(client, model="stub_5") == [answer]
    assert stored(client, model="stub_8") == []


def test_store_false_keeps_nothing(client):
    answer = post(client, store="false")
    assert answer.status_code == 200
    assert "Location" not in answer.headers
    assert "id" not in answer.json
    assert answer.json["faces"]
    assert stored(client) == []


@pytest.mark.parametrize(
    ("wishes", "faces", "dropped"),
    [
        ({}, 2, {}),
        ({"max_faces": "1"}, 1, {"max_faces": 1}),
        ({"min_face_px": "41"}, 0, {"min_face_px": 2}),
        ({"min_face_px": "1000"}, 0, {"min_face_px": 2}),
        ({"min_confidence": "0.75"}, 2, {}),
        ({"min_confidence": "1"}, 0, {"min_confidence": 2}),
    ],
)
def test_unwanted_faces_are_dropped_and_counted(client, wishes, faces, dropped):
    answer = post(client, TWO_FACES, view="full", **wishes)
    assert answer.status_code == 201
    assert len(answer.json["faces"]) == faces
    nothing = {"min_face_px": 0, "min_confidence": 0, "max_faces": 0}
    assert answer.json["dropped"] == nothing | dropped
    again = client.get(answer.location, query_string={"view": "full"}).json
    assert again["dropped"] == answer.json["dropped"]
    assert "dropped" not in client.get(answer.location).json


def test_nobody_gets_more_faces_than_the_operator_allows(make_app):
    client = make_app(max_faces=1).test_client()
    assert len(post(client, TWO_FACES, max_faces="2").json["faces"]) == 1


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg"])
def test_the_annotated_picture_by_accept(client, media_type):
    answer = client.post(
        "/v1/images", data={"image": upload(HAPPY)}, headers={"Accept": media_type}
    )
    assert (answer.status_code, answer.content_type) == (201, media_type)
    assert Image.open(io.BytesIO(answer.data)).size == (50, 50)
    assert [answer.location] == [f"/v1/images/{image['id']}" for image in stored(client)]


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html, */*;q=0.5", ""])
def test_json_is_the_usual_answer(client, accept):
    answer = client.post("/v1/images", data={"image": upload(HAPPY)}, headers={"Accept": accept})
    assert answer.content_type == "application/json"
    assert answer.headers["Vary"] == "Accept"


def test_several_pictures_are_answered_together(client):
    answer = client.post(
        "/v1/images",
        data={"image": [upload(HAPPY, "a.png"), upload(TWO_FACES, "b.png")], "threshold": 0.3},
    )
    assert answer.status_code == 201
    assert [image["file_name"] for image in answer.json["images"]] == ["a.png", "b.png"]
    assert [len(image["faces"]) for image in answer.json["images"]] == [1, 2]
    assert answer.json["errors"] == []
    assert stored(client) == answer.json["images"][::-1]


def test_a_bad_picture_among_several_harms_only_itself(client):
    answer = client.post(
        "/v1/images",
        data={"image": [upload(HAPPY, "good.png"), upload(HAPPY[:-30], "bad.png")]},
    )
    assert answer.status_code == 201
    assert [image["file_name"] for image in answer.json["images"]] == ["good.png"]
    (error,) = answer.json["errors"]
    assert (error["index"], error["file_name"], error["status"]) == (1, "bad.png", 422)
    assert stored(client) == answer.json["images"]


def test_only_bad_pictures_are_a_problem(client):
    answer = client.post(
        "/v1/images", data={"image": [upload(HAPPY[:-30]), upload(b"text"), upload(b"")]}
    )
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert [error["field"] for error in answer.json["errors"]] == [
        "image[0]", "image[1]", "image[2]",
    ]  # fmt: skip
    assert stored(client) == []


@pytest.mark.parametrize(
    ("sent", "kept"),
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
def test_file_names_are_made_harmless(client, sent, kept):
    document = {"image": base64.b64encode(HAPPY).decode(), "file_name": sent}
    assert client.post("/v1/images", json=document).json["file_name"] == kept


def test_deleting_erases(client):
    answer = post(client)
    assert client.delete(answer.location).status_code == 204
    assert client.get(answer.location).status_code == 404
    assert client.delete(answer.location).status_code == 404
    assert stored(client) == []
    assert client.get("/v1/faces").json["faces"] == []


def test_deleting_by_filter_erases_what_matches_and_nothing_else(client):
    for data, name in ((HAPPY, "a.png"), (TWO_FACES, "a.png"), (HAPPY, "b.png")):
        post(client, data, name)
    assert client.delete("/v1/images?file_name=a.png&min_faces=2").json == {"erased": 1}
    assert client.delete("/v1/images?emotion=anger").json == {"erased": 0}
    assert [image["file_name"] for image in stored(client)] == ["b.png", "a.png"]
    assert client.delete("/v1/images?since=2000-01-01T00:00:00Z").json == {"erased": 2}
    assert stored(client) == []
    assert client.get("/v1/summary").json["spans"] == []


def test_pages_follow_by_cursor_and_by_link(client):
    ids = [post(client).json["id"] for _ in range(5)][::-1]
    walked, url = [], "/v1/images?page_size=2&threshold=0.1"
    while url:
        answer = client.get(url)
        walked += [image["id"] for image in answer.json["images"]]
        assert {image["threshold"] for image in answer.json["images"]} == {0.1}
        link = answer.headers.get("Link")
        assert (link is None) == (answer.json["next_cursor"] is None)
        url = link and link.removeprefix("<").removesuffix('>; rel="next"')
        assert url is None or answer.json["next_cursor"] in url
    assert walked == ids


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
def test_filters_reach_the_store(client, query, count):
    post(client, HAPPY)
    post(client, TWO_FACES)
    post(client, picture(50, gray=0), "dark.png")
    post(client, EMPTY)
    assert len(client.get(f"/v1/images?{query}").json["images"]) == count


def test_the_answer_is_json_in_the_documented_order(client):
    text = post(client, threshold=0.2).get_data(as_text=True)
    (face,) = json.loads(text)["faces"]
    assert list(face) == ["face_id", "happiness", "bbox"]


def test_a_large_upload_never_touches_the_disk(client, monkeypatch):
    """Werkzeug's own choice is a temporary file from 500 kB on."""
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).save(data, "PNG")
    body = multipart_body(data.getvalue())
    assert len(body["data"]) > 1_000_000

    def refuse(*_args, **_kwargs):
        raise AssertionError("a temporary file was asked for")

    for name in ("TemporaryFile", "SpooledTemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    monkeypatch.setattr("werkzeug.formparser.SpooledTemporaryFile", refuse, raising=False)
    monkeypatch.setattr("werkzeug.formparser.TemporaryFile", refuse, raising=False)
    assert client.post("/v1/images", **body).status_code == 201
