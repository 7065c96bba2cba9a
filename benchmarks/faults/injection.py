"""The faults. Each creates a service and a thread that injects the fault repeatedly."""

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
Fault = tuple[Service, str, threading.Thread]  # service, URL of the database, fault thread


@dataclass(frozen=True)
class Pauses:
    """Seconds between faults.

    `full` and `stop` are also the duration of a full disk and of a stopped database.
    """

    kill: float = 1.0
    restart: float = 5.0
    full: float = 5.0
    stop: float = 10.0


DEFAULT_PAUSES = Pauses()


def repeat(seconds: float, action: Callable[[], None], finished: threading.Event) -> None:
    """Repeat an action until `finished` is set, with a pause of `seconds` after each."""
    while not finished.is_set():
        action()
        finished.wait(seconds)


def kill_random_worker(service: Service) -> None:
    """Kill a random worker with SIGKILL."""
    with contextlib.suppress(ProcessLookupError, IndexError):
        os.kill(random.choice(service.workers()), signal.SIGKILL)


def restart(service: Service) -> None:
    """Stop the service with SIGTERM and start it again."""
    service.stop()
    service.start()


@contextlib.contextmanager
def _repeated(
    folder: Path, finished: threading.Event, pause: float, action: Callable[[Service], None]
) -> Iterator[Fault]:
    service = Service(folder)
    thread = threading.Thread(target=repeat, args=(pause, lambda: action(service), finished))
    yield service, f"sqlite:///{folder / 'service.db'}", thread


def kill_workers(
    folder: Path, finished: threading.Event, pauses: Pauses
) -> contextlib.AbstractContextManager[Fault]:
    """Kill random workers (SIGKILL)."""
    return _repeated(folder, finished, pauses.kill, kill_random_worker)


def restart_service(
    folder: Path, finished: threading.Event, pauses: Pauses
) -> contextlib.AbstractContextManager[Fault]:
    """Stop the service (SIGTERM) and start it again."""
    return _repeated(folder, finished, pauses.restart, restart)


@contextlib.contextmanager
def fill_disk(folder: Path, finished: threading.Event, pauses: Pauses) -> Iterator[Fault]:
    """Fill the disk of SQLite for some seconds (a small tmpfs; needs root)."""
    disk = folder / "disk"
    disk.mkdir()
    size = f"size={TMPFS_MEGABYTES}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)], check=True)
    ballast = disk / "ballast"

    def fill() -> None:
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        finished.wait(pauses.full)
        ballast.unlink()

    database = f"sqlite:///{disk / 'service.db'}"
    try:
        service = Service(folder, EMOTION_DATABASE_URL=database)
        yield service, database, threading.Thread(target=repeat, args=(pauses.full, fill, finished))
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@contextlib.contextmanager
def stop_database(folder: Path, finished: threading.Event, pauses: Pauses) -> Iterator[Fault]:
    """Stop PostgreSQL for some seconds (a separate server from Debian packages)."""
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

    start = ["-l", str(data / "log"), "-o", f"-p {port} -k {data} -h 127.0.0.1", "start"]
    subprocess.run(
        [*as_postgres, str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", "emotion"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    server(*start)

    def interrupt() -> None:
        server("-m", "fast", "stop")
        time.sleep(
            pauses.stop
        )  # not interrupted by `finished`: the consistency check needs the database
        server(*start)

    database = f"postgresql://emotion@127.0.0.1:{port}/postgres"
    try:
        service = Service(folder, EMOTION_DATABASE_URL=database)
        yield (
            service,
            database,
            threading.Thread(target=repeat, args=(pauses.stop, interrupt, finished)),
        )
    finally:
        server("-m", "immediate", "stop")
        subprocess.run(["rm", "-rf", str(data)], check=True)


FAULTS = {
    "killed": kill_workers,
    "stopped": stop_database,
    "restarted": restart_service,
    "full": fill_disk,
}
