"""Parallel writers and erasures on SQLite."""

import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from sqlalchemy import text

from app import create_app
from app.settings import ROOT, Settings
from app.store import queries, wal
from app.store.migrate import upgrade
from app.store.records import Filters
from app.store.tables import db
from tests.store.test_queries import HAPPY, analysis

NAME = "secret-name.jpg"
WRITER = """
import sys
from app import create_app
from app.settings import Settings
from app.store import queries
from app.store.records import Filters
from tests.store.test_queries import ANGRY, HAPPY, analysis
with create_app(Settings(database_url=sys.argv[1])).app_context():
    for _ in range(40):
        saved = queries.save(analysis(HAPPY, ANGRY))
        queries.page_of_images(Filters(emotion="anger"), size=5, cursor=None)
        if saved.id % 4 == 0:
            queries.erase(saved.id)
"""


def app_on(path):
    return create_app(Settings(database_url=f"sqlite:///{path}"))


def test_parallel_processes_never_see_a_locked_database(tmp_path):
    with app_on(tmp_path / "a.db").app_context():
        upgrade()
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, f"sqlite:///{tmp_path / 'a.db'}"],
                cwd=ROOT,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        errors = [worker.communicate(timeout=120)[1] for worker in workers]
        assert [worker.returncode for worker in workers] == [0] * 4, errors
        expected = sum(1 for number in range(1, 161) if number % 4)
        assert len(queries.page_of_images(Filters(), size=200, cursor=None).items) == expected
        db.engine.dispose()


def test_parallel_threads_never_see_a_locked_database(tmp_path):
    app = app_on(tmp_path / "a.db")
    failures = []

    def work():
        try:
            with app.app_context():
                for _ in range(20):
                    queries.save(analysis(HAPPY))
        except Exception as error:
            failures.append(error)

    with app.app_context():
        upgrade()
        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(queries.page_of_images(Filters(), size=200, cursor=None).items) == 120
        db.engine.dispose()


def test_connections_have_the_pragmas_of_the_service(tmp_path):
    app = app_on(tmp_path / "a.db")
    with app.app_context(), db.engine.connect() as connection:
        pragma = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        }
    assert pragma == {
        "journal_mode": "wal",
        "foreign_keys": 1,
        "synchronous": 2,  # FULL
        "busy_timeout": 30_000,
    }


def holds_name(folder):
    return any(NAME.encode() in path.read_bytes() for path in folder.iterdir())


@pytest.mark.parametrize("erase", ["one", "all"])
def test_erased_bytes_are_in_no_file_of_the_database(tmp_path, erase):
    with app_on(tmp_path / "a.db").app_context():
        upgrade()
        for _ in range(50):
            queries.save(analysis(HAPPY))
        saved = queries.save(replace(analysis(HAPPY), file_name=NAME))
        assert holds_name(tmp_path)
        if erase == "one":
            queries.erase(saved.id)
        else:
            assert queries.erase_matching(Filters(file_name=NAME)) == 1
        assert not holds_name(tmp_path)
        db.engine.dispose()


def test_erasure_does_not_wait_for_a_reader(tmp_path, monkeypatch):
    monkeypatch.setattr(wal, "FIRST_LOCK_SECONDS", 0.05)
    with app_on(tmp_path / "a.db").app_context():
        upgrade()
        saved = queries.save(replace(analysis(HAPPY), file_name=NAME))
        reader = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM images").fetchall()
        queries.erase(saved.id)
        assert holds_name(tmp_path)  # the reader may read it again
        reader.close()
        queries.erase(queries.save(analysis(HAPPY)).id)
        assert not holds_name(tmp_path)
        db.engine.dispose()
