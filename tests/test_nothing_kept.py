"""What of a picture can be found on the disk afterwards, at the real service."""

import base64
from pathlib import Path

import pytest
import requests

from testbed.service import running_service
from tests.conftest import picture

pytestmark = pytest.mark.weights
PHOTO = (Path(__file__).parent.parent / "docs" / "astronaut.jpg").read_bytes()
SECRET = "nobody-may-read-this-name"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """(URL, folder of all that it writes): database, log, temporary files, metrics."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "tmp").mkdir()
    with running_service(folder, TMPDIR=str(folder / "tmp")) as url:
        yield url, folder


def found(folder, needle):
    return [
        path.name for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()
    ]


def pieces(data):
    """Of the file, of what base64 makes of it at each of three offsets."""
    middle = data[len(data) // 2 :][:60]
    return [middle, *(base64.b64encode(middle[cut:])[4:-8] for cut in range(3))]


WAYS = {
    "form": {"files": {"image": (f"{SECRET}.jpg", PHOTO)}},
    "raw": {"data": PHOTO, "headers": {"Content-Type": "image/jpeg"}},
    "json": {"json": {"image": base64.b64encode(PHOTO).decode(), "file_name": f"{SECRET}.jpg"}},
    "broken": {"files": {"image": (f"{SECRET}.jpg", PHOTO[:-9000])}},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("accept", ["application/json", "image/png"])
def test_of_a_picture_that_is_not_stored_nothing_is_left(service, way, accept):
    url, folder = service
    asked = WAYS[way] | {"params": {"store": "false", "file_name": f"{SECRET}.jpg"}}
    if way == "json":
        asked["params"].pop("file_name")
    asked["headers"] = asked.get("headers", {}) | {"Accept": accept, "X-Request-ID": "sought"}
    answer = requests.post(f"{url}/v1/images", timeout=30, **asked)
    assert answer.status_code == (422 if way == "broken" else 200)
    assert found(folder, b"sought") == ["service.log"]  # it is the place where one would look
    for needle in [SECRET.encode(), *pieces(PHOTO)]:
        assert found(folder, needle) == []


def test_of_a_picture_that_is_stored_the_name_is_kept_and_the_picture_is_not(service):
    url, folder = service
    name = "this-one-may-be-kept.jpg"
    answer = requests.post(f"{url}/v1/images", files={"image": (name, PHOTO)}, timeout=30)
    assert answer.status_code == 201
    places = found(folder, name.encode())
    assert places
    assert set(places) <= {"service.db", "service.db-wal"}
    for needle in pieces(PHOTO):
        assert found(folder, needle) == []


def test_where_pictures_are_kept_encrypted_none_can_be_found_and_erasure_leaves_nothing(tmp_path):
    key = base64.b64encode(b"k" * 32).decode()
    kept = tmp_path / "pictures"
    asked = {"files": {"image": ("a.jpg", PHOTO)}, "timeout": 30}
    with running_service(
        tmp_path,
        EMOTION_KEEP_PICTURES="true",
        EMOTION_PICTURES_DIR=str(kept),
        EMOTION_PICTURES_KEY=key,
    ) as url:
        assert requests.post(f"{url}/v1/images?store=false", **asked).status_code == 200
        assert not kept.exists()
        image = requests.post(f"{url}/v1/images", **asked).headers["Location"]
        assert requests.get(f"{url}{image}/picture", timeout=30).content == PHOTO
        assert len([path for path in kept.rglob("*") if path.is_file()]) == 1
        for needle in (*pieces(PHOTO), key.encode()):
            assert found(tmp_path, needle) == []
        assert requests.delete(f"{url}{image}", timeout=30).status_code == 204
        assert [path for path in kept.rglob("*") if path.is_file()] == []


def test_a_picture_that_lay_there_would_be_found(tmp_path):
    (tmp_path / "a").write_bytes(b"x" + PHOTO)
    (tmp_path / "b").write_bytes(base64.b64encode(b"xy" + PHOTO))
    names = {name for needle in pieces(PHOTO) for name in found(tmp_path, needle)}
    assert names == {"a", "b"}
    assert found(tmp_path, picture()) == []
