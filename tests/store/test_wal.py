"""Erased rows leave the write-ahead log of SQLite, also after a reader blocked the checkpoint."""

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

pytestmark = pytest.mark.waits

NAME = "secret-name.jpg"
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
    """An application with an image whose file name is in the log."""
    app = make_app()
    with app.app_context():
        queries.save(replace(analysis(HAPPY), file_name=NAME))
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def reader(tmp_path):
    """A connection that can hold an older state of the database."""
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
def test_log_is_emptied_after_the_last_reader(app, tmp_path, reader, path):
    begin_reading(reader)
    client = app.test_client()
    assert client.delete(path).status_code in (200, 204)
    assert holds_name(tmp_path)
    assert metric(app) == 1
    time.sleep(2 * wal.PAUSE_SECONDS)
    assert holds_name(tmp_path)
    # The service still responds.
    assert app.test_client().post("/v1/images", data=b"no image").status_code == 415
    reader.execute("ROLLBACK")
    wait_until(lambda: not holds_name(tmp_path))
    wait_until(lambda: metric(app) == 0)


def test_writes_continue_while_a_reader_blocks_the_checkpoint(app, reader):
    begin_reading(reader)
    queries.erase(1)
    began = time.monotonic()
    for _ in range(20):
        queries.save(analysis(HAPPY))
    assert time.monotonic() - began < WAIT_SECONDS


def test_slow_export_does_not_block_the_checkpoint(app, tmp_path):
    export = queries.all_faces(Filters(), batch=1)
    queries.save(analysis(HAPPY))
    assert next(export)
    queries.erase(1)
    assert not holds_name(tmp_path)


def test_new_worker_empties_the_log_of_a_worker_that_died(app, tmp_path, reader):
    begin_reading(reader)
    command = [sys.executable, "-c", ERASE_AND_DIE, f"sqlite:///{tmp_path / 'test.db'}"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    assert holds_name(tmp_path)
    reader.execute("ROLLBACK")
    app.extensions["wal_cleaner"].start()
    wait_until(lambda: not holds_name(tmp_path))


def test_running_worker_empties_the_log_of_a_process_that_died(app, tmp_path, reader, monkeypatch):
    monkeypatch.setattr(wal, "IDLE_SECONDS", 0.1)
    app.extensions["wal_cleaner"].start()
    wait_until(lambda: not holds_name(tmp_path) or (tmp_path / "test.db-wal").stat().st_size == 0)
    begin_reading(reader)
    command = [sys.executable, "-c", ERASE_AND_DIE, f"sqlite:///{tmp_path / 'test.db'}"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    reader.execute("ROLLBACK")
    wait_until(lambda: not holds_name(tmp_path))


def test_retention_run_empties_the_log(app, tmp_path, reader):
    begin_reading(reader)
    command = [sys.executable, "-c", ERASE_AND_DIE, f"sqlite:///{tmp_path / 'test.db'}"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    run = app.test_cli_runner().invoke
    done = run(args=["retention", "run"])
    assert "write-ahead log still contains the erased rows" in done.stderr
    assert holds_name(tmp_path)
    reader.execute("ROLLBACK")
    wait_until(lambda: "write-ahead" not in run(args=["retention", "run"]).stderr)
    assert not holds_name(tmp_path)


def test_erasure_succeeds_if_the_checkpoint_fails(app, tmp_path, monkeypatch, caplog):
    def fail(*_arguments):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(wal, "set_lock_timeout", fail)
    assert app.test_client().delete("/v1/images/1").status_code == 204
    assert "cannot empty the write-ahead log: disk I/O error" in caplog.text
    monkeypatch.undo()
    wait_until(lambda: not holds_name(tmp_path))


@pytest.mark.postgres
def test_postgresql_has_no_pending_erasures(make_app, postgres_url):
    app = make_app(database_url=postgres_url)
    with app.app_context():
        app.extensions["wal_cleaner"].start()
        assert app.extensions["wal_cleaner"].clean()
    assert app.extensions["wal_cleaner"].pending == 0
