"""The real service in a process of its own, as `make serve` starts it, on a port of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from app.settings import ROOT

START_SECONDS = 60


@contextmanager
def running_service(
    folder: Path, application: str = "wsgi:app", **environment: str
) -> Iterator[str]:
    """Migrate and serve on a fresh database in `folder`; gives the base URL once it is ready. The
    master process' number is in service.pid."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("EMOTION_")},
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "EMOTION_DATABASE_URL": f"sqlite:///{folder / 'service.db'}",
        **environment,
    }
    python = [sys.executable, "-m"]
    migrate = [*python, "flask", "--app", "wsgi", "db", "upgrade"]
    subprocess.run(migrate, cwd=ROOT, env=variables, check=True, capture_output=True)
    with (folder / "service.log").open("w") as log:
        serve = [*python, "gunicorn", "-c", "docker/gunicorn.conf.py"]
        serve += ["--pid", str(folder / "service.pid"), application]
        process = subprocess.Popen(serve, cwd=ROOT, env=variables, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_ready(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with status {process.returncode}")
        try:
            if requests.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.1)
    raise RuntimeError("the service did not become ready")
