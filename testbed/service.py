"""Starts the complete service in separate processes, as `make serve` does, on a free port."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from app.settings import ROOT
from testbed.database import migrated_database
from testbed.ports import free_port
from testbed.processes import children

START_SECONDS = 60
PYTHON = [sys.executable, "-m"]


class Service:
    """A service that can be stopped and started again on the same port and database.

    `folder` contains the log, the process id of gunicorn's master (service.pid), and a new
    database unless `environment` names another one.
    """

    def __init__(self, folder: Path, application: str = "wsgi:app", **environment: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._folder, self._application = folder, application
        self._process: subprocess.Popen[bytes] | None = None
        database = folder / "service.db"
        database_url = f"sqlite:///{database}"
        self.variables = {
            **_other_variables(),
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "EMOTION_DATABASE_URL": database_url,
            **environment,
        }
        if self.variables["EMOTION_DATABASE_URL"] != database_url or database.exists():
            _migrate(self.variables)
        else:
            database.touch(mode=0o600)
            database.write_bytes(migrated_database())

    def start(self) -> None:
        """Start the service and wait until it is ready. Raises RuntimeError if it fails."""
        with (self._folder / "service.log").open("a") as log:
            serve = [*PYTHON, "gunicorn", "-c", "docker/gunicorn.conf.py"]
            serve += ["--pid", str(self._folder / "service.pid"), self._application]
            self._process = subprocess.Popen(
                serve, cwd=ROOT, env=self.variables, stdout=log, stderr=log
            )
        _wait_until_ready(self.url, self._process)

    def stop(self) -> None:
        """Stop the service with SIGTERM. Requests in progress are answered."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=60)

    def kill(self) -> None:
        """Kill all processes of the service. Requests in progress are not answered."""
        if self._process is not None:
            for process in (self._process.pid, *self.workers()):
                os.kill(process, signal.SIGKILL)
            self._process.wait(timeout=60)

    def workers(self) -> list[int]:
        """The process ids of the running workers."""
        return children(self._process.pid if self._process else 0)


@contextmanager
def running_service(
    folder: Path, application: str = "wsgi:app", **environment: str
) -> Iterator[str]:
    """Run a Service for the block. Yield the base URL."""
    service = Service(folder, application, **environment)
    try:
        service.start()
        yield service.url
    finally:
        service.stop()


def _other_variables() -> dict[str, str]:
    """The environment of this process without settings of the service."""
    return {name: text for name, text in os.environ.items() if not name.startswith("EMOTION_")}


def _migrate(variables: dict[str, str]) -> None:
    command = [*PYTHON, "flask", "--app", "wsgi", "db", "upgrade"]
    subprocess.run(command, cwd=ROOT, env=variables, check=True, capture_output=True)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with status {process.returncode}")
        try:
            if requests.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except (requests.ConnectionError, requests.Timeout):
            pass
        time.sleep(0.1)
    raise RuntimeError("the service did not become ready")
