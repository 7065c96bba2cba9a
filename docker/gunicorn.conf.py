"""Configuration of gunicorn: `gunicorn -c docker/gunicorn.conf.py wsgi:app`."""

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
# One worker per available CPU. In each worker an event loop receives requests and sends responses,
# `threads` run the application for complete requests, and a few threads of the application run the
# CPU-heavy work. All threads of a worker share the models. The numerical libraries release Python's
# lock, so these threads run in parallel.
workers = _settings.workers or available_cpus()
worker_class = Worker
Worker.seconds = _settings.request_seconds
Worker.buffer_bytes = _settings.buffer_bytes
Worker.form_bytes = _settings.max_form_bytes
Worker.body_bytes = _settings.max_body_bytes
# Maximum number of open connections of a worker. For a new one it closes the oldest, idle ones
# first.
worker_connections = 1000
threads = _settings.request_threads
# gunicorn kills workers that send no heartbeat for this time. Before its first request a worker may
# test an installed model for up to 25 s and wait for the database.
timeout = 120
# When the service stops, running requests have this time to finish.
graceful_timeout = math.ceil(_settings.request_seconds + GRACE_SECONDS)
# NumPy would start one BLAS thread per CPU of the host, but the service multiplies no large
# matrices with NumPy.
raw_env = ["OPENBLAS_NUM_THREADS=1"]
# The service does not use gunicorn's control socket, and its home folder may be read-only.
control_socket_disable = True
# Never preload: ONNX Runtime's threads do not survive a fork.
preload_app = False
# Keep the heartbeat files in memory: on a slow disk a worker would seem to be dead. gunicorn
# creates private files in this folder.
_MEMORY = Path("/dev/shm")  # noqa: S108  # nosec B108
if _MEMORY.is_dir():
    worker_tmp_dir = str(_MEMORY)
accesslog = None
logconfig_dict = log_config(_settings.log_level)
# By default gunicorn trusts these headers from any client on this machine, which includes all
# clients of a local proxy. app.api.forwarded checks them according to EMOTION_PROXIES instead.
secure_scheme_headers = {}
forwarder_headers = ""
# Folder of the metrics for /metrics. Each worker writes its own files.
_own_folder = "PROMETHEUS_MULTIPROC_DIR" not in os.environ
if _own_folder:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="emotion-metrics-")


def on_starting(server):
    """Check the access policy, so that no client gets access by mistake."""
    try:
        notice = check_access_policy(_settings)
    except SettingError as error:
        on_exit(server)  # gunicorn does not call it when the start fails
        raise SystemExit(f"error: {error}") from None
    server.log.log(notice.level, notice.text)


def child_exit(server, worker):
    """Remove the requests in flight of an ended worker from the metrics."""
    # prometheus_client reads PROMETHEUS_MULTIPROC_DIR when it is imported.
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
