"""What the service makes of the machine: pictures a second, waiting times, CPU, memory.

    make bench
    python -m benchmarks.service --data ../shared/data --seconds 4 --rounds 3

The real service (gunicorn, a worker a core, a fresh SQLite file, or the database that --postgres
names) is sent pictures over kept connections. Beside it stand

- the limit: the same pictures through decoding, detection and classification in one process a core,
  without HTTP or SQL;
- the original service's way (benchmarks.original), as far as it is described.

They take turns in every round, so that a busy neighbour slows all alike; medians are printed. The
client runs on the same cores, and what it costs is in every figure of the services.
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
FEWEST = 6  # answers that a measurement waits for, however long they take
ORIGINAL = "benchmarks.original:create_app()"


@dataclass(frozen=True)
class Load:
    """One measurement: answers a second and the seconds that each took."""

    throughput: float
    latencies: list[float]
    cpu_seconds_each: float


@dataclass(frozen=True)
class Service:
    """A running service and the processes that it consists of."""

    url: str
    pids: list[int]

    def cpu_seconds(self) -> float:
        return sum(map(processes.cpu_seconds, self.pids))

    def resident_mb(self) -> list[float]:
        """Of each worker; the master is no worker."""
        return [processes.resident_mb(pid) for pid in self.pids[1:]]


@contextlib.contextmanager
def service(folder: Path, application: str = "wsgi:app", **environment: str) -> Iterator[Service]:
    with running_service(folder, application, **environment) as url:
        master = int((folder / "service.pid").read_text())
        yield Service(url, [master, *processes.children(master)])


def send(target: Service, pictures: Sequence[bytes], *, concurrency: int, seconds: float) -> Load:
    """Post `pictures` in turn over so many kept connections. Raises RuntimeError for an answer that
    is not 201."""
    host = target.url.removeprefix("http://")
    turn, lock = itertools.cycle(pictures), threading.Lock()
    latencies: list[float] = []
    failures: list[str] = []
    stop = time.perf_counter() + seconds

    def client() -> None:
        connection = http.client.HTTPConnection(host, timeout=300)
        while time.perf_counter() < stop or len(latencies) < FEWEST:
            with lock:
                picture = next(turn)
            start = time.perf_counter()
            connection.request("POST", "/v1/images", picture, {"Content-Type": "image/jpeg"})
            answer = connection.getresponse()
            body = answer.read()
            latencies.append(time.perf_counter() - start)
            if answer.status != 201:
                failures.append(f"{answer.status}: {body[:200]!r}")
                break
        connection.close()

    cpu, start = target.cpu_seconds(), time.perf_counter()
    _together(client, concurrency)
    took = time.perf_counter() - start
    if failures:
        raise RuntimeError(failures[0])
    cpu_each = (target.cpu_seconds() - cpu) / len(latencies)
    return Load(len(latencies) / took, latencies, cpu_each)


def _together(work: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Limit:
    """A process a core that does what an answer needs and nothing else."""

    def __init__(self, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes = []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            context.Process(target=_analyse_on_demand, args=(theirs,), daemon=True).start()
            self._pipes.append(ours)

    def throughput(self, pictures: Sequence[bytes], seconds: float) -> float:
        """Pictures a second of all processes together."""
        for pipe in self._pipes:
            pipe.send((list(pictures), seconds))
        return float(sum(pipe.recv() for pipe in self._pipes))


def _analyse_on_demand(pipe: Connection) -> None:
    settings = Settings()
    cv2.setNumThreads(settings.opencv_threads)
    engine: Engine = create_app(settings).extensions["engine"]
    engine.warm()
    with contextlib.suppress(EOFError):  # the benchmark has ended
        while True:
            pictures, seconds = pipe.recv()
            done, start = 0, time.perf_counter()
            for picture in itertools.cycle(pictures):
                engine.analyse(AnalysisRequest(ImageData(picture, "a.jpg")))
                done += 1
                took = time.perf_counter() - start
                if took >= seconds and done >= FEWEST // 2:
                    break
            pipe.send(done / took)


@dataclass
class Case:
    """The figures of one set of pictures at one concurrency, a number a round."""

    name: str
    concurrency: int
    loads: list[Load]
    limits: list[float]
    originals: list[float]

    def row(self, workers: int) -> list[str]:
        waits = np.array([latency for load in self.loads for latency in load.latencies])
        p50, p95, p99 = np.percentile(waits, [50, 95, 99])
        throughput = float(np.median([load.throughput for load in self.loads]))
        bound = p99 / (p50 * max(1.0, self.concurrency / workers))
        return [
            self.name,
            str(self.concurrency),
            f"{throughput:.1f}",
            *(f"{1000 * value:.0f}" for value in (p50, p95, p99)),
            f"{bound:.2f}",
            f"{1000 * np.median([load.cpu_seconds_each for load in self.loads]):.0f}",
            f"{throughput / np.median(self.limits):.2f}",
            f"{throughput / np.median(self.originals):.1f}" if self.originals else "",
        ]


HEAD = [
    "pictures", "at a time", "a second", "p50 ms", "p95 ms", "p99 ms", "p99 / p50 of a full queue",
    "CPU ms each", "of the limit", "times the original's way",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postgres", metavar="URL", help="a database to use instead of SQLite")
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
    # Nobody is turned away, even if all come to one worker.
    environment = {"EMOTION_MAX_IN_FLIGHT": str(max(arguments.concurrency))}
    if arguments.postgres:
        environment["EMOTION_DATABASE_URL"] = arguments.postgres
    workers = available_cpus()
    cases = [
        Case(name, concurrency, [], [], [])
        for name in sets
        for concurrency in arguments.concurrency
    ]
    limit = Limit(workers)
    with contextlib.ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        ours = stack.enter_context(service(folders[0], **environment))
        variables = {"ORIGINAL_STORE": str(folders[1] / "images.json")}
        original = stack.enter_context(
            service(folders[1], "benchmarks.original:create_app()", **variables)
        )
        before = ours.resident_mb()
        for _ in range(arguments.rounds):
            for case in cases:
                pictures = sets[case.name]
                send_ours = send(
                    ours, pictures, concurrency=case.concurrency, seconds=arguments.seconds
                )
                case.loads.append(send_ours)
                case.limits.append(limit.throughput(pictures, arguments.seconds))
                if case.concurrency == BASELINE_CONCURRENCY:
                    load = send(
                        original,
                        pictures,
                        concurrency=case.concurrency,
                        seconds=arguments.seconds,
                    )
                    case.originals.append(load.throughput)
        after = ours.resident_mb()
    store = "PostgreSQL" if arguments.postgres else "SQLite"
    print(f"{workers} workers, {store}, medians of {arguments.rounds} rounds")
    print(table(HEAD, [case.row(workers) for case in cases]))
    grown = ", ".join(f"{a:.0f} → {b:.0f}" for a, b in zip(before, after, strict=True))
    print(f"resident MB of each worker, before → after: {grown}")


if __name__ == "__main__":
    main()
