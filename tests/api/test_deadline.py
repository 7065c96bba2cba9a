"""Deadlines: late work is stopped, and oversized work is rejected before it starts."""

import base64
import struct
import time
import zlib

import pytest

from app.deadline import Deadline
from tests.conftest import StubDetector, analysis_request, image_file, upload


def png_header(width, height):
    """Return the beginning of a PNG file, without the pixels."""
    data = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + data + struct.pack(">I", zlib.crc32(data))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 1000) + b"IDAT"


@pytest.fixture
def endless(monkeypatch):
    """Detection in an image of 100 × 100 pixels runs until the deadline stops it."""
    detect = StubDetector.detect

    def detect_endlessly(self, raster, min_face_px, deadline):
        start = time.monotonic()
        while raster.size_wh == (100, 100) and time.monotonic() < start + 20:
            deadline.check()
            time.sleep(0.01)
        return detect(self, raster, min_face_px)

    monkeypatch.setattr(StubDetector, "detect", detect_endlessly)


@pytest.mark.parametrize("accept", ["application/json", "image/png"])
def test_thread_is_free_after_deadline(make_app, endless, accept):
    client = make_app(request_seconds=0.5, worker_threads=1).test_client()
    for _ in range(2):
        late = client.post(
            "/v1/images", data={"image": upload(image_file(100, 100))}, headers={"Accept": accept}
        )
        assert late.status_code == 503
        assert late.json["type"] == "urn:emotion:problem:took-too-long"
        next_response = client.post("/v1/images", data={"image": upload(image_file())})
        assert next_response.status_code == 201


def test_post_index_stops_at_deadline(make_app, endless):
    client = make_app(request_seconds=0.5, worker_threads=1).test_client()
    body = {"image": base64.b64encode(image_file(100, 100)).decode()}
    assert client.post("/index", json=body).status_code == 503
    assert client.post("/v1/images", data={"image": upload(image_file())}).status_code == 201


def test_batch_stops_at_deadline(make_app, endless):
    client = make_app(request_seconds=0.5, worker_threads=1).test_client()
    form = {
        "image": [upload(image_file(100, 100)), upload(image_file(100, 100)), upload(image_file())]
    }
    start = time.monotonic()
    late = client.post("/v1/images", data=form)
    assert late.status_code == 503
    assert time.monotonic() - start < 10


def test_image_too_large_for_detector_is_rejected_before_decoding(client):
    response = client.post(
        "/v1/images?detector=haar_default", data={"image": upload(png_header(7000, 7000))}
    )
    assert response.status_code == 422
    assert response.json["type"] == "urn:emotion:problem:too-much-work"
    assert "20,000,000 pixels" in response.json["detail"]
    assert "49,000,000" in response.json["detail"]
    assert "smaller image" in response.json["detail"]
    assert response.json["errors"][0]["field"] == "detector"
    without_limit = client.post("/v1/images", data={"image": upload(png_header(7000, 7000))})
    assert without_limit.json["type"] == "urn:emotion:problem:undecodable-image"


def test_drawing_is_not_started_if_time_is_short(make_app, monkeypatch):
    """The encoder cannot be stopped, so the service estimates the time that it needs."""
    client = make_app(request_seconds=5).test_client()
    monkeypatch.setattr("app.vision.draw.SECONDS_PER_PIXEL", 0.01)
    response = client.post(
        "/v1/images", data={"image": upload(image_file())}, headers={"Accept": "image/png"}
    )
    assert response.status_code == 503
    assert client.get("/v1/images").json["images"] == []


def test_detection_is_not_started_after_deadline(monkeypatch, app):
    calls = []
    monkeypatch.setattr(StubDetector, "detect", lambda *_: calls.append(1) or [])
    engine = app.extensions["engine"]
    with pytest.raises(Exception, match="in time"):
        engine.analyse(analysis_request(image_file()), Deadline(0))
    assert calls == []
