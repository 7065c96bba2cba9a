"""Images in all forms that the client accepts, and the bytes and file names that it sends."""

import io
import os
from pathlib import Path

import emotions
import numpy as np
import pytest
from PIL import Image

from tests.conftest import image_file

IMAGE = image_file()


@pytest.fixture
def sources(tmp_path):
    """Images in all accepted forms, with the file names that are sent."""
    path = tmp_path / "ä photo.png"
    path.write_bytes(IMAGE)
    pixels = np.full((50, 60, 3), 90, np.uint8)
    file = path.open("rb")
    yield {
        "path": (path, "ä photo.png"),
        "text": (str(path), "ä photo.png"),
        "bytes": (IMAGE, "picture"),
        "file": (file, "ä photo.png"),
        "memory": (io.BytesIO(IMAGE), "picture"),
        "image": (Image.fromarray(pixels), "picture.png"),
        "array": (pixels, "picture.png"),
        "grey": (pixels[:, :, 0], "picture.png"),
    }
    file.close()


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "file", "memory"])
def test_file_is_sent_unchanged(scripted, client, sources, kind):
    sent, name = sources[kind]
    client.analyse(sent)
    (request,) = scripted.requests
    assert IMAGE in request.body
    if name.isascii():
        assert f'filename="{name}"\r\n'.encode() in request.body
    else:
        assert b"filename=\"_ photo.png\"; filename*=UTF-8''%C3%A4%20photo.png" in request.body


@pytest.mark.parametrize("kind", ["image", "array", "grey"])
def test_pixels_are_sent_losslessly(scripted, client, sources, kind):
    sent, _ = sources[kind]
    client.analyse(sent)
    body = scripted.requests[0].body
    start = body.index(b"\x89PNG")
    read = Image.open(io.BytesIO(body[start:]))
    assert read.size == (60, 50)
    assert np.asarray(read).min() == np.asarray(read).max() == 90


def test_undecodable_file_name_is_sent_with_replacement_character(scripted, client, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    Path(path).write_bytes(IMAGE)
    client.analyse(path)
    with Path(path).open("rb") as file:
        client.analyse(file)
    client.analyse(IMAGE, file_name=path)
    for request in scripted.requests:
        assert b"filename=\"_.png\"; filename*=UTF-8''%EF%BF%BD.png\r\n" in request.body


@pytest.mark.parametrize("name", ["nothing.jpg", ".", "\0"])
def test_unreadable_file_is_not_sent(scripted, client, tmp_path, name):
    with pytest.raises(emotions.UnreadableImage):
        client.analyse(tmp_path / name)
    assert scripted.requests == []


@pytest.mark.parametrize("wrong", [7, None, object(), io.StringIO("text")])
def test_other_objects_raise_type_error(scripted, client, wrong):
    with pytest.raises(TypeError):
        client.analyse(wrong)
    assert scripted.requests == []
