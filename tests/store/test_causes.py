"""Error messages of the log and of commands for database errors."""

import logging
import re
import sqlite3
import time
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import make_url, text

from app.errors import StoreUnavailable
from app.settings import Settings
from app.start import check_access_policy
from app.store import causes, keys
from app.store.causes import FaultLog
from app.store.migrate import upgrade
from app.store.tables import db
from app.store.transactions import write_transaction
from tests.conftest import image_file, upload

CAUSES = {value.name: value for value in vars(causes).values() if isinstance(value, causes.Cause)}
SECRET = "hunter2-secret"


def error_records(caplog):
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


def logged_message(caplog):
    (record,) = error_records(caplog)
    return record.getMessage()


def get(app):
    return app.test_client().get("/v1/images")


def test_missing_tables_are_logged_once_with_advice(make_app, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    app = make_app(database_url=f"sqlite:///{tmp_path / 'empty.db'}")
    for _ in range(5):
        response = get(app)
        assert response.status_code == 503
        assert response.json["detail"] == "the database is unavailable"
    assert "run `flask --app wsgi db upgrade`" in logged_message(caplog)
    assert "no such table: keys" in logged_message(caplog)
    with app.app_context():
        upgrade()
    assert get(app).status_code == 200
    assert "works again" not in caplog.text  # other tables may still be missing
    app.test_client().post("/v1/images", data=image_file(), content_type="image/png")
    assert [record.getMessage() for record in caplog.records].count("the database works again") == 1
    assert get(app).status_code == 200
    assert [record.getMessage() for record in caplog.records].count("the database works again") == 1


def test_missing_column_is_reported_as_not_migrated(make_app, caplog):
    app = make_app()
    with app.app_context():
        db.session.execute(text("ALTER TABLE images DROP COLUMN dropped"))
        db.session.commit()
    assert get(app).status_code == 503
    assert "db upgrade" in logged_message(caplog)


@pytest.mark.postgres
def test_missing_column_is_reported_as_not_migrated_on_postgresql(make_app, postgres_url, caplog):
    app = make_app(database_url=postgres_url)
    with app.app_context():
        upgrade()
        db.session.execute(text("ALTER TABLE images DROP COLUMN dropped"))
        db.session.commit()
    assert get(app).status_code == 503
    assert "db upgrade" in logged_message(caplog)
    with app.app_context():
        db.engine.dispose()


def test_file_that_is_not_a_database_returns_503_and_is_logged(make_app, tmp_path, caplog):
    (tmp_path / "no.db").write_bytes(b"not a database, but long enough to be read" * 99)
    assert get(make_app(database_url=f"sqlite:///{tmp_path / 'no.db'}")).status_code == 503
    assert "restore a backup" in logged_message(caplog)


def test_path_of_a_folder_returns_503_and_is_logged(make_app, tmp_path, caplog):
    (tmp_path / "folder.db").mkdir()
    assert get(make_app(database_url=f"sqlite:///{tmp_path / 'folder.db'}")).status_code == 503
    assert "check the path" in logged_message(caplog)


def test_locked_database_returns_503_and_is_logged(make_app, tmp_path, caplog):
    app = make_app(request_seconds=0.3)
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    response = app.test_client().post("/v1/images", data={"image": upload(image_file())})
    assert response.json["type"] == "urn:emotion:problem:took-too-long"
    assert "locked by another process" in logged_message(caplog)
    other.close()


def test_disk_full_ends_with_a_successful_write(make_app, caplog):
    caplog.set_level(logging.INFO)
    app = make_app()
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorname = "SQLITE_FULL"
    log = app.extensions["fault_log"]
    log.record_failure(causes.explain(full), "the disk is full", write=True)
    assert get(app).status_code == 200
    assert "works again" not in caplog.text
    app.test_client().post("/v1/images", data=image_file(), content_type="image/png")
    assert "works again" in caplog.text


def test_write_to_a_full_database_raises_store_unavailable(make_app, caplog):
    app = make_app()
    with app.app_context():
        with pytest.raises(StoreUnavailable) as raised, write_transaction():
            pages = db.session.scalar(text("PRAGMA page_count"))
            db.session.execute(text(f"PRAGMA max_page_count = {pages}"))
            db.session.execute(text("CREATE TABLE t AS SELECT zeroblob(1000000)"))
        assert raised.value.for_operator.startswith("the disk of the database is full")
    assert error_records(caplog) == []  # a command prints the message itself


WRONG = {
    "host": ({"host": "nowhere.invalid"}, "host and port in EMOTION_DATABASE_URL"),
    "port": ({"port": 1}, "host and port in EMOTION_DATABASE_URL"),
    "user": ({"username": "nobody_here"}, "check user and password in EMOTION_DATABASE_URL"),
    "database": ({"database": "nothing_here"}, "create it, or check its name"),
}


@pytest.mark.postgres
@pytest.mark.parametrize("part", WRONG)
def test_wrong_url_is_reported_by_the_service_and_by_commands(make_app, postgres_url, caplog, part):
    parts, advice = WRONG[part]
    url = make_url(postgres_url).set(password=SECRET, **parts)
    app = make_app(database_url=url.render_as_string(hide_password=False))
    assert get(app).status_code == 503
    assert advice in logged_message(caplog)
    result = app.test_cli_runner().invoke(args=["keys", "list"])
    assert result.exit_code == 1
    assert result.output == f"Error: {logged_message(caplog)}\n"
    assert SECRET not in caplog.text + result.output
    assert "postgresql" not in logged_message(caplog)
    assert get(app).json["detail"] == "the database is unavailable"


def test_start_warns_about_a_database_that_is_not_migrated(settings: Settings, tmp_path):
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    assert "db upgrade" in check_access_policy(replace(settings, database_url=url)).text


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ('FATAL:  password authentication failed for user "emotion"', "password"),
        ("connection failed: fe_sendauth: no password supplied", "password"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "a"', "password"),
        ('connection failed: FATAL:  database "emotion" does not exist', "no database"),
        ('connection failed: FATAL:  role "emotion" does not exist', "password"),
        ("FATAL:  sorry, too many clients already", "too many connections"),
        ("FATAL:  remaining connection slots are reserved", "too many connections"),
        ("FATAL:  the database system is starting up", "starting"),
        ("terminating connection due to administrator command", "starting"),
        ("[Errno -2] Name or service not known; failed to resolve host 'db'", "unreachable"),
        ("connection timeout expired", "unreachable"),
        ("server closed the connection unexpectedly", "unreachable"),
        ("an unknown message", "other"),
    ],
)
def test_messages_of_libpq_without_a_code_have_a_cause(message, cause):
    assert causes.explain(psycopg.OperationalError(message)).name == cause


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (psycopg.errors.UndefinedTable, "not migrated"),
        (psycopg.errors.UndefinedColumn, "not migrated"),
        (psycopg.errors.InsufficientPrivilege, "privilege"),
        (psycopg.errors.DiskFull, "disk full"),
        (psycopg.errors.TooManyConnections, "too many connections"),
        (psycopg.errors.LockNotAvailable, "locked"),
        (psycopg.errors.DeadlockDetected, "locked"),
        (psycopg.errors.QueryCanceled, "too slow"),
        (psycopg.errors.AdminShutdown, "starting"),
        (psycopg.errors.ReadOnlySqlTransaction, "read-only"),
        (psycopg.errors.InvalidPassword, "password"),
        (psycopg.errors.DataCorrupted, "other"),
        (psycopg.errors.IoError, "disk error"),
        (psycopg.errors.UniqueViolation, None),
        (psycopg.errors.SyntaxError, None),
        (psycopg.errors.NumericValueOutOfRange, None),
        (psycopg.errors.InFailedSqlTransaction, None),
    ],
)
def test_codes_of_postgresql_have_a_cause(kind, cause):
    found = causes.explain(kind("x"))
    assert (found and found.name) == cause


def test_operator_message_contains_no_sql_values_or_password():
    error = psycopg.errors.UndefinedTable(
        f'relation "images" does not exist\nLINE 1: SELECT a FROM images WHERE x = {SECRET}\n   ^'
    )
    message = causes.operator_message(causes.NOT_MIGRATED, error)
    assert message.endswith('(the driver says: relation "images" does not exist)')
    long_error = RuntimeError(f"bad: {SECRET} " + "x" * 999)
    message = causes.operator_message(causes.OTHER, long_error, SECRET)
    assert SECRET not in message
    assert len(message) < 500


class TestFaultLog:
    @pytest.fixture(autouse=True)
    def clock(self, monkeypatch, caplog):
        caplog.set_level(logging.INFO)
        self.now = 1000.0
        self.lines = lambda: [record.getMessage() for record in caplog.records]
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def test_lasting_cause_is_logged_once_a_minute_with_a_count(self):
        log = FaultLog()
        for _ in range(180):
            log.record_failure(causes.LOCKED, "locked", write=True)
            self.now += 1
        assert self.lines() == [
            "locked",
            "locked; 59 more failures since the last message",
            "locked; 59 more failures since the last message",
        ]

    def test_new_cause_is_logged_immediately(self):
        log = FaultLog()
        for cause in (causes.LOCKED, causes.DISK_FULL, causes.LOCKED):
            log.record_failure(cause, cause.name, write=True)
        assert self.lines() == ["locked", "disk full"]

    def test_recurring_cause_is_rate_limited(self):
        log = FaultLog()
        for _ in range(3):
            log.record_failure(causes.LOCKED, "locked", write=False)
            log.record_success(write=False)
        assert self.lines().count("locked") == 1
        self.now += causes.REPEAT_SECONDS_AFTER_RECOVERY
        log.record_failure(causes.LOCKED, "locked", write=False)
        assert [line[:6] for line in self.lines()].count("locked") == 2

    def test_successful_read_does_not_end_a_write_failure(self):
        log = FaultLog()
        log.record_failure(causes.DISK_FULL, "full", write=True)
        log.record_failure(causes.UNREACHABLE, "unreachable", write=False)
        log.record_success(write=False)
        assert self.lines() == ["full", "unreachable"]
        log.record_success(write=True)
        log.record_success(write=True)
        assert self.lines() == ["full", "unreachable", "the database works again"]


def test_each_cause_has_advice():
    for cause in CAUSES.values():
        assert ": " in cause.advice or cause is causes.TOO_SLOW
        assert not re.search(r"[.\n]$", cause.advice)


def test_error_in_a_statement_is_not_logged_as_a_database_failure(app, caplog):
    with app.app_context():
        keys.any_exists()
        with pytest.raises(Exception) as raised, write_transaction():
            db.session.execute(text("INSERT INTO mark VALUES (0)"))
            db.session.execute(text("INSERT INTO mark VALUES (0)"))
    assert not isinstance(raised.value, StoreUnavailable)
    assert error_records(caplog) == []
