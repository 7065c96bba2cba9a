"""Fuzz the application with hostile requests, in this process or through gunicorn."""

import http.client
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from werkzeug.datastructures import Headers

from fuzzing.calls import Call, call_number, check_response
from fuzzing.report import Finding, Report
from testbed.processes import children, resident_mb

MAX_SECONDS = 10.0  # per response, on a machine that may be busy
# Small limits make requests fast, so a run can send many. Limits per address are off, because all
# requests come from one address.
LIMITS: dict[str, Any] = {
    "max_image_bytes": 200_000,
    "max_pixels": 1_000_000,
    "public_rate_limit": "",
    "key_failure_limit": "",
}

# Statuses of gunicorn for malformed HTTP and for lines and headers that are too long.
GUNICORN_STATUSES = frozenset({400, 414, 417, 431})
GUNICORN_MAX_BYTES = 1_000

Send = Callable[[Call], tuple[int, dict[str, str], bytes]]


def run(
    count: int,
    *,
    seed: int,
    send: Send,
    name: str,
    memory: Callable[[], float],
    first: int = 0,
    server_statuses: frozenset[int] = frozenset(),
) -> Report:
    """Send `count` requests.

    The server may answer `server_statuses` without the application, with a short body. Raises
    Finding with the number of the request; `call_number(seed, index)` creates it again.
    """
    report = Report(name, count, memory)
    for index in range(first, first + count):
        call = call_number(seed, index)
        start = time.perf_counter()
        try:
            status, headers, body = send(call)
            seconds = time.perf_counter() - start
            is_of_server = status in server_statuses and "X-Request-ID" not in headers
            if not is_of_server or len(body) > GUNICORN_MAX_BYTES:
                check_response(call, status, headers, body)
        except Exception as error:
            raise Finding(f"call {index} of seed {seed}, {call}: {error!r}") from error
        if seconds > MAX_SECONDS:
            raise Finding(f"call {index} of seed {seed}, {call}: took {seconds:.1f} s")
        report.note(index, str(status), seconds, str(call))
    return report


def in_process(client: FlaskClient) -> Send:
    """Send requests to the application in this process."""

    def send(call: Call) -> tuple[int, dict[str, str], bytes]:
        path, _, query = call.target.partition("?")
        headers = Headers(list(call.headers.items()))
        response = client.open(
            path, query_string=query, method=call.method, headers=headers, data=call.body
        )
        with response:
            return response.status_code, dict(response.headers), response.get_data()

    return send


def over_the_wire(url: str) -> Send:
    """Send each request over a new connection, because the server may close it."""
    host = url.removeprefix("http://")

    def send(call: Call) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(host, timeout=60)
        try:
            connection.request(call.method, call.target, call.body, dict(call.headers))
            response = connection.getresponse()
            return response.status, dict(response.headers), response.read()
        finally:
            connection.close()

    return send


def workers(folder: Path) -> list[int]:
    """The process ids of the workers of a service that `running_service` started in `folder`."""
    master = int((folder / "service.pid").read_text())
    return sorted(children(master))


def largest_mb(pids: list[int]) -> float:
    """The resident memory of the largest process, in megabytes."""
    return max(resident_mb(pid) for pid in pids)
