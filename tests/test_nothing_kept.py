"""A real service leaves no data of an image on the disk unless it is configured to store it."""

import base64
from pathlib import Path

import pytest
import requests

from testbed.service import running_service
from tests.conftest import image_file

pytestmark = pytest.mark.weights
PHOTO = (Path(__file__).parent.parent / "docs" / "astronaut.jpg").read_bytes()
SECRET = "secret-file-name"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """(URL, folder of all files that it writes): database, log, temporary files, metrics."""
    folder = tmp_path_factory.mktemp("service")
    (folder / "tmp").mkdir()
    with running_service(folder, TMPDIR=str(folder / "tmp")) as url:
        yield url, folder


def files_with(folder, needle):
    """Return the names of the files that contain `needle`."""
    return [
        path.name for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()
    ]


def pieces(data):
    """Return a part of the file, raw and as base64 at each of the three possible offsets."""
    middle = data[len(data) // 2 :][:60]
    return [middle, *(base64.b64encode(middle[cut:])[4:-8] for cut in range(3))]


FORMATS = {
    "form": {"files": {"image": (f"{SECRET}.jpg", PHOTO)}},
    "raw": {"data": PHOTO, "headers": {"Content-Type": "image/jpeg"}},
    "json": {"json": {"image": base64.b64encode(PHOTO).decode(), "file_name": f"{SECRET}.jpg"}},
    "broken": {"files": {"image": (f"{SECRET}.jpg", PHOTO[:-9000])}},
}


@pytest.mark.parametrize("body", FORMATS)
@pytest.mark.parametrize("accept", ["application/json", "image/png"])
def test_image_that_is_not_stored_leaves_no_data(service, body, accept):
    url, folder = service
    request = FORMATS[body] | {"params": {"store": "false", "file_name": f"{SECRET}.jpg"}}
    if body == "json":
        request["params"].pop("file_name")
    request["headers"] = request.get("headers", {}) | {"Accept": accept, "X-Request-ID": "sought"}
    response = requests.post(f"{url}/v1/images", timeout=30, **request)
    assert response.status_code == (422 if body == "broken" else 200)
    assert files_with(folder, b"sought") == ["service.log"]  # so the search covers the right folder
    for needle in [SECRET.encode(), *pieces(PHOTO)]:
        assert files_with(folder, needle) == []


def test_stored_result_contains_the_file_name_but_not_the_image(service):
    url, folder = service
    name = "stored-file-name.jpg"
    response = requests.post(f"{url}/v1/images", files={"image": (name, PHOTO)}, timeout=30)
    assert response.status_code == 201
    files = files_with(folder, name.encode())
    assert files
    assert set(files) <= {"service.db", "service.db-wal"}
    for needle in pieces(PHOTO):
        assert files_with(folder, needle) == []


def test_encrypted_image_files_contain_no_image_data_and_are_erased(tmp_path):
    key = base64.b64encode(b"k" * 32).decode()
    stored = tmp_path / "pictures"
    request = {"files": {"image": ("a.jpg", PHOTO)}, "timeout": 30}
    with running_service(
        tmp_path,
        EMOTION_KEEP_PICTURES="true",
        EMOTION_PICTURES_DIR=str(stored),
        EMOTION_PICTURES_KEY=key,
    ) as url:
        assert requests.post(f"{url}/v1/images?store=false", **request).status_code == 200
        assert not stored.exists()
        image = requests.post(f"{url}/v1/images", **request).headers["Location"]
        assert requests.get(f"{url}{image}/picture", timeout=30).content == PHOTO
        assert len([path for path in stored.rglob("*") if path.is_file()]) == 1
        for needle in (*pieces(PHOTO), key.encode()):
            assert files_with(tmp_path, needle) == []
        assert requests.delete(f"{url}{image}", timeout=30).status_code == 204
        assert [path for path in stored.rglob("*") if path.is_file()] == []


def test_search_finds_an_image_in_files(tmp_path):
    (tmp_path / "a").write_bytes(b"x" + PHOTO)
    (tmp_path / "b").write_bytes(base64.b64encode(b"xy" + PHOTO))
    names = {name for needle in pieces(PHOTO) for name in files_with(tmp_path, needle)}
    assert names == {"a", "b"}
    assert files_with(tmp_path, image_file()) == []
