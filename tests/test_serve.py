"""gunicorn with real workers: parallel requests, number of workers, hooks, settings."""

import concurrent.futures
import http.client
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import requests

from app.cpus import available_cpus
from app.settings import ROOT
from app.store.tables import db
from testbed.service import running_service

pytestmark = pytest.mark.weights
PHOTO = (ROOT / "docs" / "astronaut.jpg").read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def url(folder):
    with running_service(folder) as url:
        yield url


def test_parallel_posts_return_equal_faces_and_are_all_stored(url):
    def post(number):
        files = {"image": (f"{number}.jpg", PHOTO)}
        return requests.post(f"{url}/v1/images", files=files, timeout=60)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(post, range(24)))
    assert {response.status_code for response in responses} == {201}
    assert len({str(response.json()["faces"]) for response in responses}) == 1
    stored = requests.get(f"{url}/v1/images?page_size=200", timeout=10).json()["images"]
    assert {image["id"] for image in stored} >= {response.json()["id"] for response in responses}


def test_gunicorn_starts_one_worker_per_cpu(url, folder):
    workers = re.findall(r"Booting worker with pid", (folder / "service.log").read_text())
    assert len(workers) == available_cpus()


def test_models_are_loaded_after_the_fork(url, folder):
    log = (folder / "service.log").read_text()
    (master,) = re.findall(r"Listening at: .* \((\d+)\)", log)
    workers = re.findall(r"Booting worker with pid: (\d+)", log)

    def has_runtime(pid):
        return "onnxruntime" in Path(f"/proc/{pid}/maps").read_text()

    assert not has_runtime(master)
    assert all(has_runtime(pid) for pid in workers)


def test_connection_is_reused_for_the_next_request(url):
    host = url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    sockets = []
    for path in ("/healthz", "/v1/models", "/openapi.json"):
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        sockets.append(connection.sock)
    assert sockets[0] is not None
    assert sockets == [sockets[0]] * 3
    connection.close()


def test_gunicorn_hooks_prepare_a_worker_and_close_its_database_connections(app):
    class Worker:
        wsgi = app

    app.extensions["engine"] = Mock()
    app.extensions["wal_cleaner"] = Mock()
    hooks = runpy.run_path(str(ROOT / "docker" / "gunicorn.conf.py"))
    hooks["post_worker_init"](Worker)
    app.extensions["engine"].warm_up.assert_called_once_with()
    app.extensions["wal_cleaner"].start.assert_called_once_with()
    with app.app_context():
        assert db.engine.pool.checkedin() == 1
        hooks["worker_exit"](None, Worker)
        assert db.engine.pool.checkedin() == 0


@pytest.mark.parametrize(
    ("host", "bind"), [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("::", "[::]:80")]
)
def test_gunicorn_binds_to_ipv4_and_ipv6_addresses(monkeypatch, host, bind):
    monkeypatch.setenv("HOST", host)
    monkeypatch.setenv("PORT", "80")
    assert runpy.run_path(str(ROOT / "docker" / "gunicorn.conf.py"))["bind"] == bind


def test_upload_over_the_limit_returns_413(url):
    response = requests.post(
        f"{url}/v1/images",
        data=bytes(22_000_000),
        headers={"Content-Type": "image/png"},
        timeout=60,
    )
    assert response.status_code == 413
    assert requests.get(f"{url}/healthz", timeout=10).status_code == 200


def test_command_reports_an_invalid_setting_in_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"],
        cwd=ROOT,
        env={**os.environ, "EMOTION_THRESHOLD": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr == "error: EMOTION_THRESHOLD must be between 0 and 1, got '2'\n"
