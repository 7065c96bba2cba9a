"""Exports to slow readers: minimum rate, recognisable truncation, limited number."""

import json
import socket
import time
from contextlib import ExitStack

import pytest
import requests

from app.api.streams import MAX_STREAMS
from testbed.service import running_service
from tests.server.raw import connect, read_all, seconds, status
from tests.server.streaming import GRACE_SECONDS, PIECE, SECRET

pytestmark = [pytest.mark.weights, pytest.mark.waits]
SECONDS = 2
LARGE = 3000  # pieces: more than fit into the buffers of the system and of the service


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """(URL, log file)."""
    folder = tmp_path_factory.mktemp("service")
    with running_service(
        folder,
        application="tests.server.streaming:create_app()",
        EMOTION_WORKERS="1",
        EMOTION_ALLOW_ANONYMOUS="true",
        EMOTION_REQUEST_SECONDS=str(SECONDS),
    ) as url:
        yield url, folder / "service.log"


def wait_for_a_slot(url):
    deadline = time.monotonic() + 10
    while requests.get(f"{url}/stream/1", timeout=10).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ask(url, path, version="1.1"):
    head = f"GET {path} HTTP/{version}\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    return connect(url, head.encode(), receive_buffer=64 * 1024)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_stream_is_complete_for_a_reader_that_is_slow_but_fast_enough(service, version):
    url, _ = service
    start = time.monotonic()
    with ask(url, f"/stream/{LARGE}", version) as connection:
        received = b""
        while time.monotonic() - start < SECONDS + GRACE_SECONDS + 3:
            received += connection.recv(32 * 1024)
            time.sleep(0.05)
        rest, was_reset = read_all(connection)
    assert not was_reset
    assert (received + rest).count(b"x" * 9_999) == LARGE
    assert (received + rest).endswith(b"0\r\n\r\n" if version == "1.1" else PIECE)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_reader_that_stops_reading_is_disconnected_with_a_reset(service, version):
    url, _ = service
    with ask(url, f"/stream/{LARGE}", version) as connection:
        time.sleep(3 * SECONDS + 2)
        received, was_reset = read_all(connection)
    assert was_reset
    assert not received.endswith(b"0\r\n\r\n")


def test_reader_of_a_few_bytes_per_second_is_disconnected_with_a_reset(service):
    url, _ = service
    with ask(url, f"/stream/{LARGE}") as connection:
        deadline = time.monotonic() + 3 * SECONDS + 2
        while time.monotonic() < deadline:
            connection.recv(10)
            time.sleep(0.1)
        _, was_reset = read_all(connection)  # after the bytes that its system had received
    assert was_reset


def test_reader_is_not_disconnected_while_the_application_pauses(service):
    url, _ = service
    response = requests.get(f"{url}/paused/{2 * SECONDS + GRACE_SECONDS:.0f}", timeout=30)
    assert response.content == 2 * PIECE


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("path", ["/broken", "/short"])
def test_incomplete_response_ends_with_a_reset(service, path, version):
    url, log = service
    log_start = len(log.read_text())
    with ask(url, path, version) as connection:
        received, was_reset = read_all(connection)
    assert was_reset
    assert not received.endswith(b"0\r\n\r\n")
    faults = [json.loads(line) for line in log.read_text()[log_start:].splitlines()]
    assert [line["kind"] for line in faults if line["message"] == "server fault"] == [
        "RuntimeError"
    ]
    assert SECRET not in log.read_text()


def test_export_beyond_the_limit_returns_503_with_retry_after(service):
    url, _ = service
    with ExitStack() as stack:
        slow = [stack.enter_context(ask(url, f"/stream/{LARGE}")) for _ in range(MAX_STREAMS)]
        assert all(status(connection.recv(100)) == 200 for connection in slow)
        refused = requests.get(f"{url}/stream/1", timeout=10)
        assert refused.status_code == 503
        assert refused.headers["Retry-After"] == "1"
        assert refused.json()["type"] == "urn:emotion:problem:busy"
        assert seconds(lambda: requests.get(f"{url}/healthz", timeout=10).raise_for_status()) < 1
    wait_for_a_slot(url)


def test_disconnected_client_frees_its_slot(service):
    url, _ = service
    for _ in range(2 * MAX_STREAMS):
        with ask(url, f"/stream/{LARGE}") as connection:
            connection.recv(100)
            connection.shutdown(socket.SHUT_RDWR)
    wait_for_a_slot(url)
