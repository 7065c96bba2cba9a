"""Clients that hold connections: unread responses, silent connections, slow headers and bodies."""

import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Iterator

from attacks.result import Result, counted
from attacks.target import Response, Target, target

UNREAD = 200
SILENT, SLOW_BODIES, SLOW_HEADERS = 500, 60, 64
HEALTH_SECONDS = 0.5
P99_SECONDS = 1.0
SLOWDOWN = 2.0


def unread_answers(quick: bool) -> Iterator[Result]:
    """200 requests at a time whose responses are not read and whose sockets stay open."""
    with target() as service:
        normal = service.baseline_post().seconds
        health: list[Response] = []
        posts: list[Response] = []
        waves = 1 if quick else 3
        request = service.head("GET", "/healthz", "Connection: close") + b"\r\n"
        for _ in range(waves):
            with _held(service, UNREAD, request):
                for _ in range(6):
                    health.append(service.health())
                    posts.append(service.post(timeout=20))
                    if not (health[-1].status and posts[-1].status):
                        break
    slowest = max(response.seconds for response in health)
    median = statistics.median(response.seconds for response in posts)
    statuses = [response.status for response in health + posts]
    yield Result(
        "unread responses, with `Connection: close`",
        waves * UNREAD,
        f"/healthz at most {1000 * slowest:.0f} ms; a post {1000 * median:.0f} ms, "
        f"{1000 * normal:.0f} ms before; {counted(statuses)}",
        "/healthz within 500 ms, a post within twice the normal time",
        slowest <= HEALTH_SECONDS and median <= SLOWDOWN * normal and set(statuses) == {200, 201},
    )


def slow_clients(quick: bool) -> Iterator[Result]:
    """500 silent connections, 60 slow bodies and 64 slow headers at a time.

    A connection that the service closes is opened again.
    """
    seconds = 8.0 if quick else 25.0
    with target() as service, _Slow(service) as slow:
        health: list[Response] = []
        posts: list[Response] = []
        end = time.monotonic() + seconds
        asking = threading.Thread(target=_post_until, args=(service, posts, end))
        asking.start()
        while time.monotonic() < end:
            health.append(service.health())
            time.sleep(0.02)
        asking.join()
    times = sorted(response.seconds for response in health)
    p99 = times[int(0.99 * len(times))]
    statuses = [response.status for response in health + posts]
    yield Result(
        f"{SILENT} silent connections, {SLOW_BODIES} bodies and {SLOW_HEADERS} headers of a byte "
        "a second",
        slow.opened,
        f"/healthz p99 {1000 * p99:.0f} ms; a post at most "
        f"{1000 * max(response.seconds for response in posts):.0f} ms; {counted(statuses)}",
        "/healthz p99 below 1 s, every valid request answered",
        p99 < P99_SECONDS and set(statuses) == {200, 201},
    )


def _post_until(service: Target, responses: list[Response], end: float) -> None:
    while time.monotonic() < end:
        responses.append(service.post(timeout=20))
        time.sleep(0.2)


@contextlib.contextmanager
def _held(service: Target, count: int, request: bytes) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            with contextlib.suppress(OSError):
                connection = socket.create_connection(service.address, timeout=5)
                stack.enter_context(connection)
                connection.sendall(request)
        yield


class _Slow:
    """Holds slow connections in a thread."""

    def __init__(self, service: Target) -> None:
        self.opened = 0
        self._address = service.address
        self._stopped = threading.Event()
        self._ready = threading.Event()
        body = service.head(
            "POST", "/v1/images", "Content-Type: image/jpeg", "Content-Length: 100000"
        )
        headers = service.head("GET", "/v1/images") + b"X-Slow: "
        starts = [b""] * SILENT + [body + b"\r\n"] * SLOW_BODIES + [headers] * SLOW_HEADERS
        self._connections: list[tuple[bytes, socket.socket | None]] = [
            (start, None) for start in starts
        ]
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "_Slow":
        self._thread.start()
        self._ready.wait(60)
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopped.set()
        self._thread.join()
        for _, connection in self._connections:
            if connection:
                connection.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._connections = [
                (start, self._continued(start, connection))
                for start, connection in self._connections
            ]
            self._ready.set()
            self._stopped.wait(1.0)

    def _continued(self, start: bytes, connection: socket.socket | None) -> socket.socket | None:
        """Send another byte on the connection, or open a new connection if it was closed."""
        try:
            if connection is not None and _is_open(connection):
                if start:
                    connection.send(b"a")
                return connection
            if connection is not None:
                connection.close()
            connection = socket.create_connection(self._address, timeout=5)
            self.opened += 1
            connection.sendall(start)
            connection.setblocking(False)
        except BlockingIOError:
            return connection  # the service does not read; keep the connection
        except OSError:
            if connection is not None:
                connection.close()
            return None
        return connection


def _is_open(connection: socket.socket) -> bool:
    """Whether the service has neither answered nor closed the connection."""
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
