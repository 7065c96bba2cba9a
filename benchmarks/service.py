"""Benchmark the service under load: throughput, latency, CPU time and memory.

    make bench
    python -m benchmarks.service --data ../shared/data --seconds 4 --rounds 3

The benchmark posts images over persistent connections to the complete service: gunicorn with one
worker per core, and a new SQLite file or the database of --postgres. It compares the service with

- the upper bound: decoding, detection and classification of the same images in one process per
  core, without HTTP and SQL;
- the design of the original service (benchmarks.original).

They take turns in every round, so other load on the machine slows all of them equally. Figures are
medians. The client runs on the same cores, so the figures of the services include its CPU time.
"""

import argparse
import contextlib
import http.client
import itertools
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np

from app import create_app
from app.cpus import available_cpus
from app.settings import Settings
from app.vision.engine import Engine
from app.vision.request import AnalysisRequest, ImageData
from benchmarks.images import MEGAPIXELS, example_images, photographs
from testbed import processes
from testbed.markdown import table
from testbed.service import running_service
from training.data.photos import PhotosError

CONCURRENCIES = (1, 2, 8, 32)
BASELINE_CONCURRENCY = 8
MIN_RESPONSES = 6  # a measurement lasts until it has so many
ORIGINAL = "benchmarks.original:create_app()"


@dataclass(frozen=True)
class Load:
    """One measurement: responses per second, and the latency of each in seconds."""

    throughput: float
    latencies: list[float]
    cpu_seconds_per_image: float


@dataclass(frozen=True)
class Service:
    """A running service with the ids of its processes, the master first."""

    url: str
    pids: list[int]

    def cpu_seconds(self) -> float:
        """CPU time of all processes since their start."""
        return sum(map(processes.cpu_seconds, self.pids))

    def resident_mb(self) -> list[float]:
        """Resident memory of each worker."""
        return [processes.resident_mb(pid) for pid in self.pids[1:]]


@contextlib.contextmanager
def service(folder: Path, application: str = "wsgi:app", **environment: str) -> Iterator[Service]:
    """Run a service for the block."""
    with running_service(folder, application, **environment) as url:
        master = int((folder / "service.pid").read_text())
        yield Service(url, [master, *processes.children(master)])


def send(target: Service, images: Sequence[bytes], *, concurrency: int, seconds: float) -> Load:
    """Post `images` in turn over `concurrency` persistent connections.

    Raises RuntimeError for a response that is not 201.
    """
    host = target.url.removeprefix("http://")
    next_images, lock = itertools.cycle(images), threading.Lock()
    latencies: list[float] = []
    failures: list[str] = []
    stop = time.perf_counter() + seconds

    def client() -> None:
        connection = http.client.HTTPConnection(host, timeout=300)
        while time.perf_counter() < stop or len(latencies) < MIN_RESPONSES:
            with lock:
                image = next(next_images)
            start = time.perf_counter()
            connection.request("POST", "/v1/images", image, {"Content-Type": "image/jpeg"})
            response = connection.getresponse()
            body = response.read()
            latencies.append(time.perf_counter() - start)
            if response.status != 201:
                failures.append(f"{response.status}: {body[:200]!r}")
                break
        connection.close()

    cpu, start = target.cpu_seconds(), time.perf_counter()
    _run_in_threads(client, concurrency)
    elapsed = time.perf_counter() - start
    if failures:
        raise RuntimeError(failures[0])
    cpu_seconds_per_image = (target.cpu_seconds() - cpu) / len(latencies)
    return Load(len(latencies) / elapsed, latencies, cpu_seconds_per_image)


def _run_in_threads(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class UpperBound:
    """Processes that analyse images without HTTP and SQL."""

    def __init__(self, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes = []
        for _ in range(processes):
            own_end, process_end = context.Pipe()
            context.Process(target=_analyse_on_demand, args=(process_end,), daemon=True).start()
            self._pipes.append(own_end)

    def throughput(self, images: Sequence[bytes], seconds: float) -> float:
        """Images per second of all processes together."""
        for pipe in self._pipes:
            pipe.send((list(images), seconds))
        return float(sum(pipe.recv() for pipe in self._pipes))


def _analyse_on_demand(pipe: Connection) -> None:
    settings = Settings()
    cv2.setNumThreads(settings.opencv_threads)
    engine: Engine = create_app(settings).extensions["engine"]
    engine.warm_up()
    with contextlib.suppress(EOFError):  # the benchmark has ended
        while True:
            images, seconds = pipe.recv()
            count, start = 0, time.perf_counter()
            for image in itertools.cycle(images):
                engine.analyse(AnalysisRequest(ImageData(image, "a.jpg")))
                count += 1
                elapsed = time.perf_counter() - start
                if elapsed >= seconds and count >= MIN_RESPONSES // 2:
                    break
            pipe.send(count / elapsed)


@dataclass
class Case:
    """The figures of one set of images at one concurrency, one per round."""

    name: str
    concurrency: int
    loads: list[Load]
    upper_bounds: list[float]
    originals: list[float]

    def row(self, workers: int) -> list[str]:
        """A row of the table.

        With a full queue, the latency is the time of one image times concurrency / workers.
        """
        latencies = np.array([latency for load in self.loads for latency in load.latencies])
        p50, p95, p99 = np.percentile(latencies, [50, 95, 99])
        throughput = float(np.median([load.throughput for load in self.loads]))
        ratio = p99 / (p50 * max(1.0, self.concurrency / workers))
        return [
            self.name,
            str(self.concurrency),
            f"{throughput:.1f}",
            *(f"{1000 * value:.0f}" for value in (p50, p95, p99)),
            f"{ratio:.2f}",
            f"{1000 * np.median([load.cpu_seconds_per_image for load in self.loads]):.0f}",
            f"{throughput / np.median(self.upper_bounds):.2f}",
            f"{throughput / np.median(self.originals):.1f}" if self.originals else "",
        ]


HEAD = [
    "images", "concurrency", "images per second", "p50 ms", "p95 ms", "p99 ms",
    "p99 / p50 of a full queue", "CPU ms per image", "share of the upper bound",
    "speed-up over the original",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seconds", type=float, default=4.0, help="duration of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--postgres", metavar="URL", help="URL of a database to use instead of SQLite"
    )
    parser.add_argument("--megapixels", type=float, nargs="*", default=MEGAPIXELS)
    parser.add_argument("--concurrency", type=int, nargs="+", default=CONCURRENCIES)
    arguments = parser.parse_args()
    try:
        sets = {
            f"{megapixels:g} megapixels": photographs(arguments.data, megapixels)
            for megapixels in arguments.megapixels
        }
        sets["examples"] = example_images(arguments.data)
    except (PhotosError, OSError) as error:
        raise SystemExit(f"error: {error}") from error
    # No request is rejected, even if one worker gets all of them.
    environment = {"EMOTION_MAX_IN_FLIGHT": str(max(arguments.concurrency))}
    if arguments.postgres:
        environment["EMOTION_DATABASE_URL"] = arguments.postgres
    workers = available_cpus()
    cases = [
        Case(name, concurrency, [], [], [])
        for name in sets
        for concurrency in arguments.concurrency
    ]
    upper_bound = UpperBound(workers)
    with contextlib.ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        current = stack.enter_context(service(folders[0], **environment))
        variables = {"ORIGINAL_STORE": str(folders[1] / "images.json")}
        original = stack.enter_context(service(folders[1], ORIGINAL, **variables))
        before = current.resident_mb()
        for _ in range(arguments.rounds):
            for case in cases:
                images = sets[case.name]
                case.loads.append(
                    send(current, images, concurrency=case.concurrency, seconds=arguments.seconds)
                )
                case.upper_bounds.append(upper_bound.throughput(images, arguments.seconds))
                if case.concurrency == BASELINE_CONCURRENCY:
                    load = send(
                        original,
                        images,
                        concurrency=case.concurrency,
                        seconds=arguments.seconds,
                    )
                    case.originals.append(load.throughput)
        after = current.resident_mb()
    store = "PostgreSQL" if arguments.postgres else "SQLite"
    print(f"{workers} workers, {store}, medians of {arguments.rounds} rounds")
    print(table(HEAD, [case.row(workers) for case in cases]))
    memory = ", ".join(f"{a:.0f} → {b:.0f}" for a, b in zip(before, after, strict=True))
    print(f"resident MB of each worker, before → after: {memory}")


if __name__ == "__main__":
    main()
