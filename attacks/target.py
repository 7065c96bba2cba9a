"""The service under attack, with measurements from other clients and from the kernel."""

import contextlib
import http.client
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.settings import ROOT
from testbed.processes import cpu_seconds, peak_mb
from testbed.service import Service

PHOTO = (ROOT / "docs" / "astronaut.jpg").read_bytes()
JPEG = {"Content-Type": "image/jpeg"}
JSON = {"Content-Type": "application/json"}
NO_RESPONSE = 0
_WARM_POSTS = 4
# The workers are idle if they use less CPU time than this during so many steps (two seconds).
_IDLE_CPU_SECONDS, _IDLE_STEPS = 0.1, 8


@dataclass(frozen=True)
class Response:
    """A response. `status` is NO_RESPONSE if the connection was refused, closed or timed out."""

    status: int
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Baseline:
    """The median duration and the mean CPU time of a post without other load."""

    seconds: float
    cpu_seconds: float


class Target:
    """A running service. `folder` contains the database, service.db, and the log."""

    def __init__(self, folder: Path, service: Service) -> None:
        self.folder = folder
        self.url = service.url
        host, _, port = service.url.removeprefix("http://").partition(":")
        self.address = (host, int(port))
        self._service = service
        self._first_workers = service.workers()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: float = 60.0,
        address: tuple[str, int] | None = None,
    ) -> Response:
        """Send one request on a new connection.

        `timeout` is in seconds and applies to each operation of the socket. `address` is the
        address of a proxy, if the request goes through one.
        """
        connection = http.client.HTTPConnection(*(address or self.address), timeout=timeout)
        start = time.perf_counter()
        try:
            connection.request(method, path, body, dict(headers or {}))
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            return Response(NO_RESPONSE, time.perf_counter() - start)
        finally:
            connection.close()
        return Response(
            response.status, time.perf_counter() - start, dict(response.headers.items()), content
        )

    def head(self, method: str, path: str, *headers: str) -> bytes:
        """The request line and headers of a request, without the final empty line."""
        host, port = self.address
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:{port}", *headers]
        return "".join(f"{line}\r\n" for line in lines).encode()

    def health(self, timeout: float = 10.0) -> Response:
        """Request /healthz."""
        return self.ask("GET", "/healthz", timeout=timeout)

    def post(self, data: bytes = PHOTO, query: str = "", *, timeout: float = 60.0) -> Response:
        """Post an image."""
        return self.ask("POST", f"/v1/images?{query}", data, JPEG, timeout=timeout)

    def baseline_post(self, count: int = 9) -> Baseline:
        """Measure posts of docs/astronaut.jpg without other load.

        Raises RuntimeError if a post is not answered 201.
        """
        before = self.cpu_seconds()
        responses = [self.post() for _ in range(_WARM_POSTS + count)]
        if unexpected := {response.status for response in responses} - {http.client.CREATED}:
            raise RuntimeError(f"posts were answered {sorted(unexpected)}, expected 201")
        return Baseline(
            statistics.median(response.seconds for response in responses[_WARM_POSTS:]),
            (self.cpu_seconds() - before) / len(responses),
        )

    def images(self) -> list[dict[str, Any]]:
        """All stored images. Raises RuntimeError if they cannot be read."""
        images: list[dict[str, Any]] = []
        cursor = ""
        while True:
            response = self.ask("GET", f"/v1/images?page_size=200{cursor}")
            if response.status != http.client.OK:
                raise RuntimeError(f"GET /v1/images was answered {response.status}, expected 200")
            page = json.loads(response.body)
            images += page["images"]
            if page["next_cursor"] is None:
                return images
            cursor = f"&cursor={page['next_cursor']}"

    @property
    def workers_live(self) -> bool:
        """Whether all workers of the start still run."""
        return self._service.workers() == self._first_workers

    def peak_mb(self) -> float:
        """The highest peak of resident memory of a worker since its start, in megabytes."""
        return max(map(peak_mb, self._service.workers()))

    def cpu_seconds(self) -> float:
        """The CPU time of all workers since their start, in seconds."""
        return sum(map(cpu_seconds, self._service.workers()))

    def wait_until_idle(self, max_seconds: float) -> bool:
        """Wait until the workers are idle. Return False if they are busy after `max_seconds`."""
        used = [self.cpu_seconds()]
        for _ in poll(max_seconds):
            used.append(self.cpu_seconds())
            if len(used) > _IDLE_STEPS and used[-1] - used[-_IDLE_STEPS] < _IDLE_CPU_SECONDS:
                return True
        return False


@contextlib.contextmanager
def target(**environment: str) -> Iterator[Target]:
    """Start a service with these settings and defaults for all others; kill it after the block."""
    with tempfile.TemporaryDirectory(prefix="emotion-attack-") as name:
        folder = Path(name)
        metrics = folder / "metrics"
        metrics.mkdir()
        service = Service(folder, PROMETHEUS_MULTIPROC_DIR=str(metrics), **environment)
        try:
            service.start()
            yield Target(folder, service)
        finally:
            with contextlib.suppress(OSError):
                service.kill()


def poll(seconds: float, every: float = 0.25) -> Iterator[int]:
    """Yield 0, 1, 2, … every `every` seconds, until `seconds` have passed."""
    end = time.monotonic() + seconds
    for step in itertools.count():
        yield step
        if time.monotonic() >= end:
            return
        time.sleep(every)
