"""What was erased leaves SQLite's write-ahead log, also where somebody reads meanwhile."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace

import pytest

from app.settings import ROOT
from app.store import queries, wal
from app.store.records import Filters
from app.store.tables import db
from tests.store.test_queries import HAPPY, analysis

pytestmark = pytest.mark.serial

NAME = "somebodys-secret-name.jpg"
WAIT_SECONDS = 15.0
ERASE_AND_DIE = """
import os, sys
from app import create_app
from app.settings import Settings
from app.store import queries
with create_app(Settings(database_url=sys.argv[1])).app_context():
    queries.erase(1)
    os._exit(0)
"""


@pytest.fixture
def app(make_app):
    """With an image of that name, which is in the log."""
    app = make_app()
    with app.app_context():
        queries.save(replace(analysis(HAPPY), file_name=NAME))
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def reader(tmp_path):
    """Somebody who reads the state before what comes next."""
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as reader:
        yield reader


def begin_reading(reader):
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM images").fetchall()


def holds_name(folder):
    return any(NAME.encode() in path.read_bytes() for path in folder.glob("test.db*"))


def wait_until(condition):
    until = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def metric(app):
    text = app.test_client().get("/metrics").text
    (line,) = [line for line in text.splitlines() if line.startswith("emotion_erasures_pending")]
    return float(line.split()[-1])


@pytest.mark.parametrize("path", ["/v1/images/1", "/v1/images?min_faces=0"])
def test_it_is_gone_soon_after_the_last_reader(app, tmp_path, reader, path):
    begin_reading(reader)
    client = app.test_client()
    assert client.delete(path).status_code in (200, 204)
    assert holds_name(tmp_path)
    assert metric(app) == 1
    time.sleep(2 * wal.PAUSE_SECONDS)
    assert holds_name(tmp_path)
    assert app.test_client().post("/v1/images", data=b"no image").status_code == 415  # it serves
    reader.execute("ROLLBACK")
    wait_until(lambda: not holds_name(tmp_path))
    wait_until(lambda: metric(app) == 0)


def test_writing_goes_on_meanwhile(app, reader):
    begin_reading(reader)
    queries.erase(1)
    began = time.monotonic()
    for _ in range(20):
        queries.save(analysis(HAPPY))
    assert time.monotonic() - began < WAIT_SECONDS


def test_a_csv_export_that_is_read_slowly_holds_nothing_back(app, tmp_path):
    export = queries.all_faces(Filters(), batch=1)
    queries.save(analysis(HAPPY))
    assert next(export)
    queries.erase(1)
    assert not holds_name(tmp_path)


def test_after_the_death_of_a_worker_another_one_removes_it(app, tmp_path, reader):
    begin_reading(reader)
    command = [sys.executable, "-c", ERASE_AND_DIE, f"sqlite:///{tmp_path / 'test.db'}"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    assert holds_name(tmp_path)
    reader.execute("ROLLBACK")
    app.extensions["wal_cleaner"].start()
    wait_until(lambda: not holds_name(tmp_path))


def test_a_worker_that_runs_removes_what_others_left(app, tmp_path, reader, monkeypatch):
    monkeypatch.setattr(wal, "IDLE_SECONDS", 0.1)
    app.extensions["wal_cleaner"].start()
    wait_until(lambda: not holds_name(tmp_path) or (tmp_path / "test.db-wal").stat().st_size == 0)
    begin_reading(reader)
    command = [sys.executable, "-c", ERASE_AND_DIE, f"sqlite:///{tmp_path / 'test.db'}"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    reader.execute("ROLLBACK")
    wait_until(lambda: not holds_name(tmp_path))


def test_retention_run_removes_it_too(app, tmp_path, reader):
    begin_reading(reader)
    command = [sys.executable, "-c", ERASE_AND_DIE, f"sqlite:///{tmp_path / 'test.db'}"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    run = app.test_cli_runner().invoke
    done = run(args=["retention", "run"])
    assert "in the write-ahead log while a connection reads" in done.stderr
    assert holds_name(tmp_path)
    reader.execute("ROLLBACK")
    wait_until(lambda: "write-ahead" not in run(args=["retention", "run"]).stderr)
    assert not holds_name(tmp_path)


def test_a_log_that_cannot_be_emptied_harms_nobody(app, tmp_path, monkeypatch, caplog):
    def fail(*_arguments):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(wal, "set_lock_timeout", fail)
    assert app.test_client().delete("/v1/images/1").status_code == 204
    assert "could not be emptied: disk I/O error" in caplog.text
    monkeypatch.undo()
    wait_until(lambda: not holds_name(tmp_path))


@pytest.mark.postgres
def test_postgresql_has_nothing_pending(make_app, postgres_url):
    app = make_app(database_url=postgres_url)
    with app.app_context():
        app.extensions["wal_cleaner"].start()
        assert app.extensions["wal_cleaner"].clean()
    assert app.extensions["wal_cleaner"].pending == 0
