"""How gunicorn serves the application: `gunicorn -c docker/gunicorn.conf.py wsgi:app`."""

import math
import os
import shutil
import tempfile
from pathlib import Path

from app.cpus import available_cpus
from app.logs import log_config
from app.server.worker import GRACE_SECONDS, Worker
from app.settings import SettingError, Settings
from app.start import check_access_policy

_settings = Settings.from_environment(os.environ)

_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host  # IPv6
bind = f"{_host}:{_settings.port}"
# One worker for each CPU that is available to the service. In each worker an event loop receives
# requests and sends responses, `threads` answer complete requests, and a few threads of the
# application run the CPU-heavy work. All threads of a worker share the models; the numerical
# libraries release Python's lock, so a thread that waits for the database leaves no CPU idle.
workers = _settings.workers or available_cpus()
worker_class = Worker
Worker.seconds = _settings.request_seconds
Worker.buffer_bytes = _settings.buffer_bytes
Worker.form_bytes = _settings.max_form_bytes
Worker.body_bytes = _settings.max_body_bytes
# Open connections of a worker; beyond that, the oldest ones are closed, idle ones first.
worker_connections = 1000
threads = _settings.request_threads
# Before its first request a worker may try an installed model, for up to 25 s, and wait for the
# database. gunicorn ends workers that are silent for longer than this.
timeout = 120
# Whoever is being answered when the service is told to stop gets the answer.
graceful_timeout = math.ceil(_settings.request_seconds + GRACE_SECONDS)
# NumPy's own threads, one for each CPU of the host, are never used here: one crop is no matrix.
raw_env = ["OPENBLAS_NUM_THREADS=1"]
# Nobody steers it by a socket, and the home folder it would be made in may be read-only.
control_socket_disable = True
# Never preload: ONNX Runtime's threads do not survive a fork.
preload_app = False
# Heartbeats through memory: on a slow disk gunicorn would take its workers for dead.
# gunicorn makes a private file in it.
_MEMORY = Path("/dev/shm")  # noqa: S108  # nosec B108
if _MEMORY.is_dir():
    worker_tmp_dir = str(_MEMORY)
accesslog = None
logconfig_dict = log_config(_settings.log_level)
# gunicorn would trust these headers from any client on this machine, and so from all clients of a
# proxy there. The application checks the headers that EMOTION_PROXIES allows: app.api.forwarded.
secure_scheme_headers = {}
forwarder_headers = ""
# Where the workers count, each in its own files, for /metrics.
_own_folder = "PROMETHEUS_MULTIPROC_DIR" not in os.environ
if _own_folder:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="emotion-metrics-")


def on_starting(server):
    """Nobody is let in by an oversight."""
    try:
        notice = check_access_policy(_settings)
    except SettingError as error:
        on_exit(server)  # which gunicorn calls for those only that it started
        raise SystemExit(f"error: {error}") from None
    server.log.log(notice.level, notice.text)


def child_exit(server, worker):
    """What a worker that is gone was working at is no longer in flight."""
    # When it is imported it settles how it counts, by the folder above.
    from prometheus_client import multiprocess  # noqa: PLC0415

    multiprocess.mark_process_dead(worker.pid)


def on_exit(server):
    if _own_folder:
        shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


def post_worker_init(worker):
    worker.wsgi.extensions["start_worker"]()


def worker_exit(server, worker):
    # A worker that could not load the application has no attribute `wsgi`.
    if application := getattr(worker, "wsgi", None):
        application.extensions["stop_worker"]()
