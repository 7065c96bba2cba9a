"""The service under attack, and what other clients and the kernel say about it."""

import contextlib
import http.client
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.settings import ROOT
from tests.service import Service

PHOTO = (ROOT / "docs" / "astronaut.jpg").read_bytes()
JPEG = {"Content-Type": "image/jpeg"}
JSON = {"Content-Type": "application/json"}
NO_ANSWER = 0
_TICKS = os.sysconf("SC_CLK_TCK")
_WARM_POSTS = 4
# Less CPU time than this in so many looks, two seconds, is rest.
_IDLE_CPU_SECONDS, _IDLE_STEPS = 0.1, 8


@dataclass(frozen=True)
class Answer:
    """`status` is NO_ANSWER where the connection was refused, closed or silent for too long."""

    status: int
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Normal:
    """The median duration of a post, and its mean CPU time."""

    seconds: float
    cpu_seconds: float


class Target:
    """A running service. `folder` holds its database, service.db, and its log."""

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
    ) -> Answer:
        """One request in a connection of its own. `timeout` is in seconds, for each step of the
        connection. `address` is that of a proxy."""
        connection = http.client.HTTPConnection(*(address or self.address), timeout=timeout)
        start = time.perf_counter()
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            return Answer(NO_ANSWER, time.perf_counter() - start)
        finally:
            connection.close()
        return Answer(
            answer.status, time.perf_counter() - start, dict(answer.headers.items()), content
        )

    def health(self, timeout: float = 10.0) -> Answer:
        return self.ask("GET", "/healthz", timeout=timeout)

    def post(self, data: bytes = PHOTO, query: str = "", *, timeout: float = 60.0) -> Answer:
        return self.ask("POST", f"/v1/images?{query}", data, JPEG, timeout=timeout)

    def normal_post(self, count: int = 9) -> Normal:
        """What a post of docs/astronaut.jpg takes while nothing else is asked for.

        Raises RuntimeError where such a post is not answered 201.
        """
        before = self.cpu_seconds()
        answers = [self.post() for _ in range(_WARM_POSTS + count)]
        if others := {answer.status for answer in answers} - {http.client.CREATED}:
            raise RuntimeError(f"docs/astronaut.jpg was answered {sorted(others)}")
        return Normal(
            statistics.median(answer.seconds for answer in answers[_WARM_POSTS:]),
            (self.cpu_seconds() - before) / len(answers),
        )

    def images(self) -> list[dict[str, Any]]:
        """All stored images. Raises RuntimeError where they cannot be read."""
        images: list[dict[str, Any]] = []
        cursor = ""
        while True:
            answer = self.ask("GET", f"/v1/images?page_size=200{cursor}")
            if answer.status != http.client.OK:
                raise RuntimeError(f"GET /v1/images was answered {answer.status}")
            page = json.loads(answer.body)
            images += page["images"]
            if page["next_cursor"] is None:
                return images
            cursor = f"&cursor={page['next_cursor']}"

    @property
    def workers_live(self) -> bool:
        """Whether the workers are still the ones that were started."""
        return self._service.workers() == self._first_workers

    def peak_mb(self) -> float:
        """The peak of resident memory of the largest worker, in megabytes, since its start."""
        return max(_status_kb(pid, "VmHWM") for pid in self._service.workers()) * 1024 / 1e6

    def cpu_seconds(self) -> float:
        """CPU time that all workers have used since their start."""
        return sum(map(_cpu_seconds, self._service.workers()))

    def rests(self, most_seconds: float) -> bool:
        """Wait until the workers use no CPU time. False if they do for `most_seconds`."""
        seen = [self.cpu_seconds()]
        for _ in until(most_seconds):
            seen.append(self.cpu_seconds())
            if len(seen) > _IDLE_STEPS and seen[-1] - seen[-_IDLE_STEPS] < _IDLE_CPU_SECONDS:
                return True
        return False


@contextlib.contextmanager
def target(**environment: str) -> Iterator[Target]:
    """A service with these settings and the defaults of the others, killed afterwards."""
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


def until(seconds: float, every: float = 0.25) -> Iterator[int]:
    """Counts steps, `every` so many seconds, until `seconds` have passed."""
    end = time.monotonic() + seconds
    for step in itertools.count():
        yield step
        if time.monotonic() >= end:
            return
        time.sleep(every)


def _status_kb(pid: int, name: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split(f"{name}:")[1].split()[0])


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
