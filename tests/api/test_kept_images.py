"""GET /v1/images/<id>/picture, where the operator has pictures kept."""

import base64

import pytest

from app.keys import issue
from app.store.keys import Right
from tests.conftest import picture, upload

JPEG = picture(100, kind="JPEG")


@pytest.fixture
def kept(make_app, tmp_path):
    """(client, folder)"""
    folder = tmp_path / "pictures"
    return make_app(keep_pictures=True, pictures_dir=folder).test_client(), folder


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


WAYS = {
    "form": lambda: {"data": {"image": upload(JPEG)}},
    "raw": lambda: {"data": JPEG, "content_type": "image/png"},
    "json": lambda: {"json": {"image": base64.b64encode(JPEG).decode()}},
    "annotated": lambda: {"data": {"image": upload(JPEG)}, "headers": {"Accept": "image/png"}},
}


@pytest.mark.parametrize("way", WAYS)
def test_it_comes_back_as_it_came(kept, way):
    client, folder = kept
    made = client.post("/v1/images", **WAYS[way]())
    assert made.status_code == 201
    answer = client.get(f"{made.location}/picture")
    assert (answer.status_code, answer.content_type) == (200, "image/jpeg")
    assert answer.data == JPEG
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert len(files(folder)) == 1


@pytest.mark.parametrize("way", WAYS)
def test_of_a_picture_that_is_not_stored_no_file_is_left(kept, way):
    client, folder = kept
    assert client.post("/v1/images?store=false", **WAYS[way]()).status_code == 200
    assert files(folder) == []


def test_of_several_the_good_ones_are_kept(kept):
    client, folder = kept
    sent = {"image": [upload(JPEG), upload(JPEG[:-50]), upload(picture(50))]}
    answer = client.post("/v1/images", data=sent)
    assert (answer.status_code, len(answer.json["images"])) == (201, 2)
    assert len(files(folder)) == 2


def test_erased_with_its_image(kept):
    client, folder = kept
    made = client.post("/v1/images", data={"image": upload(JPEG)})
    assert client.delete(made.location).status_code == 204
    assert files(folder) == []
    assert client.get(f"{made.location}/picture").status_code == 404


def test_unless_turned_on_nothing_is_kept(client):
    made = client.post("/v1/images", data={"image": upload(JPEG)})
    answer = client.get(f"{made.location}/picture")
    assert answer.status_code == 404
    assert answer.json["detail"] == "the file of image 1 is not kept"


def test_a_retry_keeps_it_once(kept):
    client, folder = kept
    for _ in range(2):
        sent = {"data": {"image": upload(JPEG)}, "headers": {"Idempotency-Key": "one"}}
        assert client.post("/v1/images", **sent).status_code == 201
    assert len(files(folder)) == 1


def test_it_says_whether_it_keeps_them(kept):
    assert kept[0].get("/readyz").json == {"status": "ready", "keeps_pictures": True}


def test_it_needs_the_right_to_read(kept):
    client, _ = kept
    made = client.post("/v1/images", data={"image": upload(JPEG)})
    with client.application.app_context():
        key = issue("writer", [Right.ANALYSE], None)
    headers = {"Authorization": f"Bearer {key}"}
    assert client.get(f"{made.location}/picture", headers=headers).status_code == 403
