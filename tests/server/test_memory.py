"""Requests and responses that try to fill the memory of a worker."""

import io
import struct
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from testbed.processes import peak_mb, reset_peak
from testbed.service import Service
from tests.server.raw import HOST, connect, status

pytestmark = [pytest.mark.weights, pytest.mark.waits]
PHOTO = (Path(__file__).parents[2] / "docs" / "astronaut.jpg").read_bytes()
MAX_MEGABYTES = 600


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """The service with default settings and one worker."""
    service = Service(
        tmp_path_factory.mktemp("service"), EMOTION_WORKERS="1", EMOTION_ALLOW_ANONYMOUS="true"
    )
    try:
        service.start()
        yield service
    finally:
        service.stop()


@pytest.fixture
def post(service):
    """A function that posts bodies in parallel and returns the number of responses by status.

    Afterwards the fixture checks the peak memory of the worker.
    """
    (worker,) = service.workers()
    reset_peak(worker)

    def post(bodies, content_type):
        codes = Counter()

        def send(body):
            try:
                response = requests.post(
                    f"{service.url}/v1/images?store=false",
                    data=body,
                    headers={"Content-Type": content_type},
                    timeout=120,
                )
                codes[response.status_code] += 1
            except requests.ConnectionError:
                codes["closed"] += 1

        threads = [threading.Thread(target=send, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return codes

    yield post
    assert peak_mb(worker) < MAX_MEGABYTES
    assert service.workers() == [worker]
    assert requests.get(f"{service.url}/healthz", timeout=10).status_code == 200


@pytest.fixture(scope="module")
def form():
    """The largest form: 16 images of 15 MB."""
    image = PHOTO + bytes(15_000_000 - len(PHOTO))
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    return (head + image + b"\r\n") * 16 + b"--x--\r\n"


FORM = "multipart/form-data; boundary=x"


def test_largest_form_is_accepted(post, form):
    assert post([form], FORM) == {200: 1}


def test_some_of_many_parallel_large_forms_are_rejected(post, form):
    codes = post([form] * 8, FORM)
    assert codes[200] >= 1
    assert set(codes) <= {200, 503, "closed"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"image": [' + b"[]," * 6_600_000 + b"[]]}",
        b'{"image": "' + b"AA " * 6_600_000 + b'"}',
        ('{"image": "' + "A" * 19_000_000 + '\N{GRINNING FACE}"}').encode(),
        b'{"file_name": "' + b"\\u4e00" * 3_300_000 + b'"}',
    ],
    ids=["empty lists", "words", "wide characters", "a long name"],
)
def test_json_of_any_structure_takes_bounded_memory(post, body):
    codes = post([body] * 8, "application/json")
    assert set(codes) <= {400, 415, 422, 503}


def test_raw_images_take_bounded_memory(post):
    codes = post([PHOTO + bytes(14_000_000)] * 24, "image/jpeg")
    assert codes[200] >= 8
    assert set(codes) <= {200, 503}


@pytest.mark.usefixtures("post")
def test_large_annotated_images_are_returned_smaller(service):
    noise = np.random.default_rng(0).integers(0, 256, (7000, 7000), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG", quality=10)
    data = file.getvalue()
    head = b"POST /v1/images?store=false HTTP/1.1\r\n" + HOST + b"Content-Type: image/jpeg\r\n"
    head += b"Accept: image/png\r\nContent-Length: %d\r\n\r\n" % len(data)
    served = 0
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(service.url, head + data)) for _ in range(6)]
        for client in clients:
            response = client.recv(100_000)
            while status(response) == 200 and b"IHDR" not in response:
                response += client.recv(100_000)
            assert status(response) in (200, 503)
            if status(response) == 200:
                start = response.index(b"IHDR") + 4
                width, height = struct.unpack(">II", response[start : start + 8])
                assert width * height <= 10_000_000
                served += 1
        assert served
