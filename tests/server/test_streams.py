"""Exports to slow readers: limited by their progress, recognisable when cut off, and few."""

import json
import socket
import time
from contextlib import ExitStack

import pytest
import requests

from app.api.streams import MAX_STREAMS
from app.server.worker import GRACE_SECONDS
from testbed.service import running_service
from tests.server.raw import connect, read_all, seconds, status
from tests.server.streaming import PIECE, SECRET

pytestmark = [pytest.mark.weights, pytest.mark.serial]
SECONDS = 2
LARGE = 3000  # pieces: more than the system's buffers and ours take


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """(URL, log file)."""
    folder = tmp_path_factory.mktemp("service")
    with running_service(
        folder,
        application="tests.server.streaming:app",
        EMOTION_WORKERS="1",
        EMOTION_ALLOW_ANONYMOUS="true",
        EMOTION_REQUEST_SECONDS=str(SECONDS),
    ) as url:
        yield url, folder / "service.log"


def wait_for_a_place(url):
    deadline = time.monotonic() + 10
    while requests.get(f"{url}/stream/1", timeout=10).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ask(url, path, version="1.1"):
    head = f"GET {path} HTTP/{version}\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    return connect(url, head.encode(), receive_buffer=64 * 1024)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_reader_that_goes_on_gets_everything_however_long_it_takes(service, version):
    url, _ = service
    began = time.monotonic()
    with ask(url, f"/stream/{LARGE}", version) as connection:
        came = b""
        while time.monotonic() - began < SECONDS + GRACE_SECONDS + 3:
            came += connection.recv(32 * 1024)
            time.sleep(0.05)
        rest, was_reset = read_all(connection)
    assert not was_reset
    assert (came + rest).count(b"x" * 9_999) == LARGE
    assert (came + rest).endswith(b"0\r\n\r\n" if version == "1.1" else PIECE)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_reader_that_stops_is_cut_off_by_a_reset(service, version):
    url, _ = service
    with ask(url, f"/stream/{LARGE}", version) as connection:
        time.sleep(3 * SECONDS + 2)
        came, was_reset = read_all(connection)
    assert was_reset
    assert not came.endswith(b"0\r\n\r\n")


def test_a_reader_that_takes_a_few_bytes_a_second_is_cut_off_too(service):
    url, _ = service
    with ask(url, f"/stream/{LARGE}") as connection:
        deadline = time.monotonic() + 3 * SECONDS + 2
        while time.monotonic() < deadline:
            connection.recv(10)
            time.sleep(0.1)
        _, was_reset = read_all(connection)  # after what its system had received
    assert was_reset


def test_a_slow_database_is_not_the_readers_fault(service):
    url, _ = service
    answer = requests.get(f"{url}/paused/{2 * SECONDS + 5}", timeout=30)
    assert answer.content == 2 * PIECE


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("path", ["/broken", "/short"])
def test_a_response_that_breaks_off_is_recognisable(service, path, version):
    url, log = service
    before = len(log.read_text())
    with ask(url, path, version) as connection:
        came, was_reset = read_all(connection)
    assert was_reset
    assert not came.endswith(b"0\r\n\r\n")
    faults = [json.loads(line) for line in log.read_text()[before:].splitlines()]
    assert [line["kind"] for line in faults if line["message"] == "server fault"] == [
        "RuntimeError"
    ]
    assert SECRET not in log.read_text()


def test_few_exports_are_sent_at_a_time_and_the_others_are_told_when_to_come(service):
    url, _ = service
    with ExitStack() as stack:
        slow = [stack.enter_context(ask(url, f"/stream/{LARGE}")) for _ in range(MAX_STREAMS)]
        assert all(status(connection.recv(100)) == 200 for connection in slow)
        refused = requests.get(f"{url}/stream/1", timeout=10)
        assert refused.status_code == 503
        assert refused.headers["Retry-After"] == "1"
        assert refused.json()["type"] == "urn:emotion:problem:busy"
        assert seconds(lambda: requests.get(f"{url}/healthz", timeout=10).raise_for_status()) < 1
    wait_for_a_place(url)


def test_a_client_that_leaves_gives_its_place_back(service):
    url, _ = service
    for _ in range(2 * MAX_STREAMS):
        with ask(url, f"/stream/{LARGE}") as connection:
            connection.recv(100)
            connection.shutdown(socket.SHUT_RDWR)
    wait_for_a_place(url)
