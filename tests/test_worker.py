"""Clients that send or read slowly, at the real service."""

import socket
import time

import pytest
import requests

from app.server.worker import GRACE_SECONDS
from app.settings import SPARE_THREADS
from tests.conftest import picture
from tests.service import running_service

pytestmark = pytest.mark.weights
HEAD = b"POST /v1/images HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
SECONDS = 2


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """One worker with 17 threads."""
    with running_service(
        tmp_path_factory.mktemp("service"),
        EMOTION_WORKERS="1",
        EMOTION_MAX_IN_FLIGHT="1",
        EMOTION_REQUEST_SECONDS=str(SECONDS),
    ) as url:
        yield url


def connect(url, data):
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(data)
    return connection


def dripping(connection, piece, until):
    """What comes back while a byte is sent every tenth of a second."""
    while time.monotonic() < until:
        try:
            connection.sendall(piece)
        except OSError:
            break
        time.sleep(0.1)
    connection.settimeout(1)
    try:
        return connection.recv(4096)
    except ConnectionError:
        return b""


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        pytest.param(HEAD + b"X-Slow: ", b"x", id="headers"),
        pytest.param(HEAD + b"Content-Length: 100000\r\n\r\n", b"x", id="body"),
        pytest.param(
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", id="chunked body"
        ),
    ],
)
def test_a_request_that_is_sent_too_slowly_is_cut_off(url, start, piece):
    began = time.monotonic()
    with connect(url, start) as connection:
        # Others are served meanwhile.
        answer = requests.post(f"{url}/v1/images", files={"image": picture()}, timeout=10)
        assert answer.status_code == 201
        said = dripping(connection, piece, began + SECONDS + 2)
    assert said == b"" or said.split()[1] in (b"400", b"408", b"503")
    images = requests.get(f"{url}/v1/images", timeout=10).json()["images"]
    assert {image["file_name"] for image in images} <= {"image"}


def test_as_many_slow_clients_as_threads_hold_them_for_the_time_of_one_request(url):
    slow = [
        connect(url, HEAD + b"Content-Length: 100000\r\n\r\nx") for _ in range(1 + SPARE_THREADS)
    ]
    began = time.monotonic()
    assert requests.get(f"{url}/healthz", timeout=30).status_code == 200
    assert time.monotonic() - began < SECONDS + GRACE_SECONDS + 2
    for connection in slow:
        connection.close()
