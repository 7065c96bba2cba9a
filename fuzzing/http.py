"""Hostile requests to the whole application, in this process or as it is served."""

import http.client
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from werkzeug.datastructures import Headers

from fuzzing.calls import Call, call_number, check_answer
from fuzzing.report import Finding, Report
from testbed.processes import children, resident_mb

MOST_SECONDS = 10.0  # to wait for an answer, on a machine that does other work too
# Small images, so that a run consists mostly of requests and not of pixels. No limits on the
# requests and wrong keys of an address, since all come from one address.
LIMITS: dict[str, Any] = {
    "max_image_bytes": 200_000,
    "max_pixels": 1_000_000,
    "public_rate_limit": "",
    "key_failure_limit": "",
}

# What the server refuses before the application sees it: malformed HTTP, and too long lines and
# headers.
GUNICORNS = frozenset({400, 414, 417, 431})
GUNICORNS_MOST_BYTES = 1_000

Send = Callable[[Call], tuple[int, dict[str, str], bytes]]


def run(
    count: int,
    *,
    seed: int,
    send: Send,
    what: str,
    memory: Callable[[], float],
    first: int = 0,
    servers: frozenset[int] = frozenset(),
) -> Report:
    """`servers` are statuses that the server may answer with by itself, shortly.

    Raises Finding, which names the call: `call_number(seed, index)` makes it again.
    """
    report = Report(what, count, memory)
    for index in range(first, first + count):
        call = call_number(seed, index)
        start = time.perf_counter()
        try:
            status, headers, body = send(call)
            seconds = time.perf_counter() - start
            its_own = status in servers and "X-Request-ID" not in headers
            if not its_own or len(body) > GUNICORNS_MOST_BYTES:
                check_answer(call, status, headers, body)
        except Exception as error:
            raise Finding(f"call {index} of seed {seed}, {call}: {error!r}") from error
        if seconds > MOST_SECONDS:
            raise Finding(f"call {index} of seed {seed}, {call}: took {seconds:.1f} s")
        report.note(index, str(status), seconds, str(call))
    return report


def in_process(client: FlaskClient) -> Send:
    def send(call: Call) -> tuple[int, dict[str, str], bytes]:
        path, _, query = call.target.partition("?")
        headers = Headers(list(call.headers.items()))
        answer = client.open(
            path, query_string=query, method=call.method, headers=headers, data=call.body
        )
        with answer:
            return answer.status_code, dict(answer.headers), answer.get_data()

    return send


def over_the_wire(url: str) -> Send:
    """A new connection each: whoever answers badly may also close it."""
    host = url.removeprefix("http://")

    def send(call: Call) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(host, timeout=60)
        try:
            connection.request(call.method, call.target, call.body, dict(call.headers))
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            connection.close()

    return send


def workers(folder: Path) -> list[int]:
    """Of the service that `running_service` has started in `folder`."""
    master = int((folder / "service.pid").read_text())
    return sorted(children(master))


def largest_mb(pids: list[int]) -> float:
    return max(resident_mb(pid) for pid in pids)
