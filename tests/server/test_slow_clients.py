"""Silent and slow clients of a real service with one worker."""

import os
import resource
import signal
import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import requests

from app.server.loop import SILENT_SECONDS
from app.server.worker import GRACE_SECONDS
from app.settings import SPARE_THREADS
from testbed.service import Service, running_service
from tests.server.raw import HEALTH, POST, connect, connected, read_all, seconds, status

pytestmark = [pytest.mark.weights, pytest.mark.waits]
PHOTO = (Path(__file__).parents[2] / "docs" / "astronaut.jpg").read_bytes()
SECONDS = 2
SLOW_BODY = POST + b"Content-Length: 100000\r\n\r\nx"
THREADS = 1 + SPARE_THREADS


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with running_service(
        tmp_path_factory.mktemp("service"),
        EMOTION_WORKERS="1",
        EMOTION_ALLOW_ANONYMOUS="true",
        EMOTION_MAX_IN_FLIGHT="1",
        EMOTION_REQUEST_SECONDS=str(SECONDS),
    ) as url:
        yield url


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """The URL of a service with the default time limit of a request."""
    with running_service(
        tmp_path_factory.mktemp("service"), EMOTION_WORKERS="1", EMOTION_ALLOW_ANONYMOUS="true"
    ) as url:
        yield url


@contextmanager
def dripping(connections, piece=b"x"):
    """Send `piece` once per second on each of the connections."""
    stopped = threading.Event()

    def drip():
        while not stopped.wait(1):
            for connection in connections:
                with suppress(OSError):
                    connection.send(piece)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def check_served(url, count=20):
    """Check that the service responds to health checks and images soon."""
    times = []
    for _ in range(count):
        times.append(seconds(lambda: requests.get(f"{url}/healthz", timeout=10).raise_for_status()))
    # Allow for a busy machine: a client for which there is no room waits for five seconds.
    assert max(times) < 3
    assert sorted(times)[-2] < 1
    response = requests.post(f"{url}/v1/images", files={"image": PHOTO}, timeout=10)
    assert response.status_code == 201


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        pytest.param(POST + b"X-Slow: ", b"x", id="headers"),
        pytest.param(SLOW_BODY, b"x", id="body"),
        pytest.param(POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", id="chunks"),
    ],
)
def test_slow_request_returns_408(url, start, piece):
    with connected(url, 3 * THREADS, start) as slow, dripping(slow, piece):
        check_served(url)
        response, _ = read_all(slow[0])
    assert status(response) == 408
    images = requests.get(f"{url}/v1/images", timeout=10).json()["images"]
    assert {image["file_name"] for image in images} <= {"image"}


@pytest.mark.parametrize("ending", [b"Connection: close\r\n\r\n", b"\r\n"], ids=["close", "keep"])
def test_clients_that_do_not_close_do_not_block_others(patient, ending):
    with connected(patient, 200, HEALTH + ending):
        check_served(patient)


def test_silent_and_slow_clients_do_not_block_others(patient):
    with (
        connected(patient, 500) as silent,
        connected(patient, 60, SLOW_BODY) as slow,
        dripping(slow),
    ):
        check_served(patient, count=50)
        assert seconds(lambda: read_all(silent[0])) < SILENT_SECONDS + 3


def test_oldest_silent_connections_are_closed_for_new_ones(patient):
    with connected(patient, 1300) as silent:
        check_served(patient)
        silent[0].settimeout(1)  # the oldest connection was closed
        assert read_all(silent[0]) == (b"", False)


def test_worker_with_a_low_limit_of_open_files_closes_silent_connections(tmp_path):
    service = Service(tmp_path, EMOTION_WORKERS="1", EMOTION_ALLOW_ANONYMOUS="true")
    try:
        service.start()
        (worker,) = service.workers()
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (256, 256))
        with connected(service.url, 400):
            check_served(service.url)
        assert service.workers() == [worker]
    finally:
        service.stop()


def test_service_survives_disconnects_at_any_time(patient):
    for start in (b"", HEALTH, HEALTH + b"\r\n", SLOW_BODY, HEALTH + b"Connection: close\r\n\r\n"):
        for reset in (False, True):
            for connection in [connect(patient, start) for _ in range(20)]:
                if reset:
                    linger = b"\1\0\0\0\0\0\0\0"
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.close()
    whole = POST.replace(b"png", b"jpeg") + b"Content-Length: %d\r\n\r\n" % len(PHOTO) + PHOTO
    for _ in range(5):
        connect(patient, whole).close()
    check_served(patient)


def test_slow_readers_do_not_occupy_threads(patient):
    """The responses exceed the buffers of the system, and there are more clients than threads."""
    request = b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(connect(patient, 3 * request, receive_buffer=2048))
        check_served(patient)


def test_stop_finishes_requests_within_their_time_limit(tmp_path):
    service = Service(
        tmp_path,
        EMOTION_WORKERS="1",
        EMOTION_ALLOW_ANONYMOUS="true",
        EMOTION_REQUEST_SECONDS=str(SECONDS),
    )
    service.start()
    whole = POST.replace(b"png", b"jpeg") + b"Content-Length: %d\r\n\r\n" % len(PHOTO)
    with (
        connected(service.url, 5, SLOW_BODY) as slow,
        connect(service.url, whole + PHOTO[:1000]) as good,
        connected(service.url, 5),
        dripping(slow),
    ):
        time.sleep(0.3)
        os.kill(int((tmp_path / "service.pid").read_text()), signal.SIGTERM)
        time.sleep(0.2)
        good.sendall(PHOTO[1000:])
        response, was_reset = read_all(good)
        assert status(response) == 201
        assert b"Connection: close" in response
        assert not was_reset
        assert seconds(service.stop) < SECONDS + GRACE_SECONDS + 5


def test_new_worker_replaces_a_killed_one(tmp_path):
    service = Service(tmp_path, EMOTION_WORKERS="1", EMOTION_ALLOW_ANONYMOUS="true")
    service.start()
    try:
        with connected(service.url, 20, SLOW_BODY):
            os.kill(service.workers()[0], signal.SIGKILL)
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                try:
                    if requests.get(f"{service.url}/readyz", timeout=5).ok:
                        break
                except (requests.ConnectionError, requests.Timeout):
                    time.sleep(0.2)
            check_served(service.url)
    finally:
        service.stop()
