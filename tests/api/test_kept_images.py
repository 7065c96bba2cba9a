"""GET /v1/images/<id>/picture, with EMOTION_KEEP_PICTURES on and off."""

import base64

import pytest

from app.keys import issue
from app.store.keys import Right
from tests.conftest import image_file, upload

JPEG = image_file(100, kind="JPEG")


@pytest.fixture
def keeping(make_app, tmp_path):
    """A client of a service that stores image files, and the folder of the files."""
    folder = tmp_path / "pictures"
    return make_app(keep_pictures=True, pictures_dir=folder).test_client(), folder


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


BODIES = {
    "form": lambda: {"data": {"image": upload(JPEG)}},
    "raw": lambda: {"data": JPEG, "content_type": "image/png"},
    "json": lambda: {"json": {"image": base64.b64encode(JPEG).decode()}},
    "annotated": lambda: {"data": {"image": upload(JPEG)}, "headers": {"Accept": "image/png"}},
}


@pytest.mark.parametrize("case", BODIES)
def test_stored_file_is_returned_unchanged(keeping, case):
    client, folder = keeping
    posted = client.post("/v1/images", **BODIES[case]())
    assert posted.status_code == 201
    response = client.get(f"{posted.location}/picture")
    assert (response.status_code, response.content_type) == (200, "image/jpeg")
    assert response.data == JPEG
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert len(files(folder)) == 1


@pytest.mark.parametrize("case", BODIES)
def test_store_false_leaves_no_file(keeping, case):
    client, folder = keeping
    assert client.post("/v1/images?store=false", **BODIES[case]()).status_code == 200
    assert files(folder) == []


def test_files_of_valid_images_of_batch_are_stored(keeping):
    client, folder = keeping
    sent = {"image": [upload(JPEG), upload(JPEG[:-50]), upload(image_file(50))]}
    response = client.post("/v1/images", data=sent)
    assert (response.status_code, len(response.json["images"])) == (201, 2)
    assert len(files(folder)) == 2


def test_delete_removes_file(keeping):
    client, folder = keeping
    posted = client.post("/v1/images", data={"image": upload(JPEG)})
    assert client.delete(posted.location).status_code == 204
    assert files(folder) == []
    assert client.get(f"{posted.location}/picture").status_code == 404


def test_files_are_not_stored_by_default(client):
    posted = client.post("/v1/images", data={"image": upload(JPEG)})
    response = client.get(f"{posted.location}/picture")
    assert response.status_code == 404
    assert response.json["detail"] == "the file of image 1 is not kept"


def test_replay_stores_one_file(keeping):
    client, folder = keeping
    for _ in range(2):
        sent = {"data": {"image": upload(JPEG)}, "headers": {"Idempotency-Key": "one"}}
        assert client.post("/v1/images", **sent).status_code == 201
    assert len(files(folder)) == 1


def test_readyz_reports_that_files_are_stored(keeping):
    assert keeping[0].get("/readyz").json == {"status": "ready", "keeps_pictures": True}


def test_file_requires_read_right(keeping):
    client, _ = keeping
    posted = client.post("/v1/images", data={"image": upload(JPEG)})
    with client.application.app_context():
        key = issue("writer", [Right.ANALYSE], None)
    headers = {"Authorization": f"Bearer {key}"}
    assert client.get(f"{posted.location}/picture", headers=headers).status_code == 403
