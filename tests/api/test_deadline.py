"""Work for a request stops soon after its deadline, and too much work is not begun."""

import struct
import time
import zlib

import pytest

from app.deadline import Deadline
from tests.conftest import StubDetector, analysis_request, picture, upload


def png_header(width, height):
    """The start of a PNG, without its pixels."""
    data = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + data + struct.pack(">I", zlib.crc32(data))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 1000) + b"IDAT"


@pytest.fixture
def endless(monkeypatch):
    """Detection in an image of 100 pixels goes on until the deadline stops it."""
    detect = StubDetector.detect

    def detect_for_ever(self, raster, min_face_px, deadline):
        began = time.monotonic()
        while raster.size_wh == (100, 100) and time.monotonic() < began + 20:
            deadline.check()
            time.sleep(0.01)
        return detect(self, raster, min_face_px)

    monkeypatch.setattr(StubDetector, "detect", detect_for_ever)


@pytest.mark.parametrize("accept", ["application/json", "image/png"])
def test_the_next_request_finds_a_free_thread(make_app, endless, accept):
    client = make_app(request_seconds=0.5, worker_threads=1).test_client()
    for _ in range(2):
        late = client.post(
            "/v1/images", data={"image": upload(picture(100, 100))}, headers={"Accept": accept}
        )
        assert late.status_code == 503
        assert late.json["type"] == "urn:emotion:problem:took-too-long"
        next_one = client.post("/v1/images", data={"image": upload(picture())})
        assert next_one.status_code == 201


def test_the_original_clients_call_stops_too(make_app, endless):
    import base64

    client = make_app(request_seconds=0.5, worker_threads=1).test_client()
    body = {"image": base64.b64encode(picture(100, 100)).decode()}
    assert client.post("/index", json=body).status_code == 503
    assert client.post("/v1/images", data={"image": upload(picture())}).status_code == 201


def test_of_several_images_none_is_begun_after_the_deadline(make_app, endless):
    client = make_app(request_seconds=0.5, worker_threads=1).test_client()
    form = {"image": [upload(picture(100, 100)), upload(picture(100, 100)), upload(picture())]}
    began = time.monotonic()
    late = client.post("/v1/images", data=form)
    assert late.status_code == 503
    assert time.monotonic() - began < 10


def test_an_image_too_large_for_a_detector_is_refused_before_it_is_decoded(client):
    answer = client.post(
        "/v1/images?detector=haar_default", data={"image": upload(png_header(7000, 7000))}
    )
    assert answer.status_code == 422
    assert answer.json["type"] == "urn:emotion:problem:too-much-work"
    assert "20,000,000 pixels" in answer.json["detail"]
    assert "49,000,000" in answer.json["detail"]
    assert "smaller image" in answer.json["detail"]
    assert answer.json["errors"][0]["field"] == "detector"
    others = client.post("/v1/images", data={"image": upload(png_header(7000, 7000))})
    assert others.json["type"] == "urn:emotion:problem:undecodable-image"


def test_drawing_is_not_begun_too_late_to_end_in_time(make_app, monkeypatch):
    """Encoding cannot be stopped: its time is estimated."""
    client = make_app(request_seconds=5).test_client()
    monkeypatch.setattr("app.vision.draw.SECONDS_PER_PIXEL", 0.01)
    answer = client.post(
        "/v1/images", data={"image": upload(picture())}, headers={"Accept": "image/png"}
    )
    assert answer.status_code == 503
    assert client.get("/v1/images").json["images"] == []


def test_no_work_is_done_after_the_deadline(monkeypatch, app):
    seen = []
    monkeypatch.setattr(StubDetector, "detect", lambda *_: seen.append(1) or [])
    engine = app.extensions["engine"]
    with pytest.raises(Exception, match="in time"):
        engine.analyse(analysis_request(picture()), Deadline(0))
    assert seen == []
