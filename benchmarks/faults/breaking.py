"""The faults: each starts a service and returns a thread that breaks something again and again."""

import contextlib
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from testbed.ports import free_port
from testbed.service import Service

TMPFS_MEGABYTES = 24
Breaking = tuple[Service, str, threading.Thread]  # with the URL of the database


@dataclass(frozen=True)
class Pauses:
    """Seconds from one fault to the next. `full` and `stop` are also how long the disk stays full
    and the database stays stopped."""

    kill: float = 1.0
    restart: float = 5.0
    full: float = 5.0
    stop: float = 10.0


USUAL = Pauses()


def every(seconds: float, do: Callable[[], None], over: threading.Event) -> None:
    """At once, and again so many seconds after it is done."""
    while not over.is_set():
        do()
        over.wait(seconds)


def kill_one(service: Service) -> None:
    with contextlib.suppress(ProcessLookupError, IndexError):
        os.kill(random.choice(service.workers()), signal.SIGKILL)


def restart(service: Service) -> None:
    service.stop()
    service.start()


@contextlib.contextmanager
def killed(folder: Path, over: threading.Event, pauses: Pauses) -> Iterator[Breaking]:
    """A random worker is killed (SIGKILL), again and again."""
    service = Service(folder)
    breaking = threading.Thread(target=every, args=(pauses.kill, lambda: kill_one(service), over))
    yield service, f"sqlite:///{folder / 'service.db'}", breaking


@contextlib.contextmanager
def restarted(folder: Path, over: threading.Event, pauses: Pauses) -> Iterator[Breaking]:
    """The service is stopped as an operator does (SIGTERM) and started again."""
    service = Service(folder)
    breaking = threading.Thread(target=every, args=(pauses.restart, lambda: restart(service), over))
    yield service, f"sqlite:///{folder / 'service.db'}", breaking


@contextlib.contextmanager
def full(folder: Path, over: threading.Event, pauses: Pauses) -> Iterator[Breaking]:
    """The disk that SQLite writes to is full for a while (a small tmpfs; needs root)."""
    disk = folder / "disk"
    disk.mkdir()
    size = f"size={TMPFS_MEGABYTES}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)], check=True)
    ballast = disk / "ballast"

    def fill() -> None:
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        over.wait(pauses.full)
        ballast.unlink()

    database = f"sqlite:///{disk / 'service.db'}"
    try:
        service = Service(folder, EMOTION_DATABASE_URL=database)
        yield service, database, threading.Thread(target=every, args=(pauses.full, fill, over))
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@contextlib.contextmanager
def stopped(folder: Path, over: threading.Event, pauses: Pauses) -> Iterator[Breaking]:
    """PostgreSQL is stopped for a while (a server of its own, from Debian's packages)."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    data = Path(tempfile.mkdtemp(prefix="emotion-faults-"))
    subprocess.run(["chown", "postgres", str(data)], check=True)
    as_postgres = ["runuser", "-u", "postgres", "--"]
    port = free_port()

    def server(*arguments: str) -> None:
        subprocess.run(
            [*as_postgres, str(binaries / "pg_ctl"), "-D", str(data), "-w", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
        )

    begin = ["-l", str(data / "log"), "-o", f"-p {port} -k {data} -h 127.0.0.1", "start"]
    subprocess.run(
        [*as_postgres, str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "emotion"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    server(*begin)

    def interrupt() -> None:
        server("-m", "fast", "stop")
        time.sleep(pauses.stop)  # also when the load is over: it must be there to be counted
        server(*begin)

    database = f"postgresql://emotion@127.0.0.1:{port}/postgres"
    try:
        service = Service(folder, EMOTION_DATABASE_URL=database)
        yield service, database, threading.Thread(target=every, args=(pauses.stop, interrupt, over))
    finally:
        server("-m", "immediate", "stop")
        subprocess.run(["rm", "-rf", str(data)], check=True)


FAULTS = {"killed": killed, "stopped": stopped, "restarted": restarted, "full": full}
