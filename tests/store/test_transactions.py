"""Transactions: what they may do, how long they take, and what is left of one that fails."""

import sqlite3
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
from flask import g
from sqlalchemy import func, select, text

from app.deadline import Deadline
from app.errors import DeadlineExceeded, NotFound, OutcomeUnknown, StoreUnavailable
from app.keys import issue
from app.store import keys, queries
from app.store.connections import renew_deadline
from app.store.keys import Right
from app.store.records import Filters
from app.store.tables import ImageRow, KeyRow, db
from app.store.transactions import read_transaction, write_transaction
from tests.conftest import picture, upload
from tests.store.proxy import Proxy
from tests.store.test_queries import HAPPY, analysis

pytestmark = pytest.mark.serial

SECONDS = 0.6  # that requests may take here
SLOWEST = 5.0  # on a busy machine


@pytest.fixture
def app(make_app, database_url):
    """A service with one image of id 1, whose requests may take SECONDS."""
    app = make_app(database_url=database_url, request_seconds=SECONDS)
    with app.app_context():
        queries.save(analysis(HAPPY))
    yield app
    with app.app_context():
        db.engine.dispose()


def count(app):
    with app.app_context(), read_transaction():
        return db.session.scalar(select(func.count()).select_from(ImageRow))


@contextmanager
def locked(app, *tables):
    """Another process holds the tables: for writing, and in PostgreSQL also for reading."""
    with app.app_context():
        engine = db.engine
    if engine.dialect.name == "sqlite":
        other = sqlite3.connect(engine.url.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        yield
        other.close()
    else:
        with engine.connect() as connection:
            for table in tables:
                connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
            yield


@contextmanager
def deadline(seconds):
    g.deadline = Deadline.after(seconds)
    began = time.perf_counter()
    yield
    g.pop("deadline")
    assert time.perf_counter() - began < SLOWEST


def post(client):
    return client.post("/v1/images", data={"image": upload(picture())})


REQUESTS = {
    "post": post,
    "post the original way": lambda client: client.post("/index", json={"image": "iVBORw0KGgo="}),
    "erase": lambda client: client.delete("/v1/images/1"),
    "erase many": lambda client: client.delete("/v1/images?min_faces=0"),
    "image": lambda client: client.get("/v1/images/1"),
    "images": lambda client: client.get("/v1/images?emotion=happiness&min_probability=0.1"),
    "faces": lambda client: client.get("/v1/faces"),
    "csv": lambda client: client.get("/v1/faces", headers={"Accept": "text/csv"}),
    "mood": lambda client: client.get("/v1/images/1/mood"),
    "summary": lambda client: client.get("/v1/summary"),
}


@pytest.mark.parametrize("what", ["post", "erase", "erase many"])
def test_nothing_is_changed_after_the_deadline_of_a_request_that_waits_for_a_lock(app, what):
    began = time.perf_counter()
    with locked(app, "images"):
        answer = REQUESTS[what](app.test_client())
        assert time.perf_counter() - began < SLOWEST
    assert answer.status_code == 503
    assert answer.json["type"] == "urn:emotion:problem:took-too-long"
    time.sleep(0.2)
    assert count(app) == 1


@pytest.mark.postgres  # SQLite's readers wait for nobody
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("what", REQUESTS)
def test_a_lock_on_everything_ends_every_request_in_time(app, what):
    tables = ("images", "faces", "emotions", "keys", "retries", "mark", "hours")
    began = time.perf_counter()
    with locked(app, *tables):
        answer = REQUESTS[what](app.test_client())
    assert time.perf_counter() - began < SLOWEST
    assert answer.status_code == 503, answer.text
    assert answer.headers["Retry-After"]


def test_what_is_ready_too_late_is_rolled_back(app):
    with app.app_context():
        with deadline(0.2), pytest.raises(DeadlineExceeded), write_transaction():
            db.session.execute(ImageRow.__table__.delete())
            time.sleep(0.3)
        assert queries.get(1)


def test_a_long_query_is_ended(app):
    long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with app.app_context():
        for begin in (read_transaction, write_transaction):
            with deadline(0.3), pytest.raises(DeadlineExceeded), begin():
                db.session.execute(text(long))
        assert queries.get(1)  # by the same connection, which is as before


def test_many_short_queries_are_ended(app):
    with app.app_context(), deadline(0.3), pytest.raises(DeadlineExceeded), read_transaction():
        while True:
            db.session.scalar(text("SELECT 1"))


def test_after_the_deadline_no_transaction_begins(app):
    with app.app_context(), deadline(-1):
        for begin in (read_transaction, write_transaction):
            with pytest.raises(DeadlineExceeded), begin():
                pytest.fail("it began")


def test_an_export_has_the_time_of_a_request_for_each_page(app):
    with app.app_context():
        for _ in range(4):
            queries.save(analysis(HAPPY))
        with deadline(SECONDS):
            seen = 0
            for _ in queries.all_faces(Filters(), batch=1):
                time.sleep(SECONDS / 2)
                seen += 1
            assert seen == 5
        renew_deadline()  # outside of requests there is none
        assert "deadline" not in g


def test_without_a_deadline_a_lock_is_waited_for(app):
    with app.app_context():
        opened = threading.Event()

        def hold():
            with locked(app, "images"):
                opened.set()
                time.sleep(1.2 * SECONDS)

        thread = threading.Thread(target=hold)
        thread.start()
        assert opened.wait(10)
        queries.save(analysis(HAPPY))
        thread.join(10)
    assert count(app) == 2


def test_a_read_transaction_cannot_write(app):
    with app.app_context():
        for statement in (
            "DELETE FROM images",
            "INSERT INTO mark VALUES (7)",
            "CREATE TABLE t (i int)",
        ):
            with pytest.raises(RuntimeError, match="must not write"), read_transaction():
                db.session.execute(text(statement))
            with pytest.raises(RuntimeError, match="must not write"), read_transaction():
                db.session.add(KeyRow(id="a", name="a", secret_hash="", rights=[]))
                db.session.flush()
        queries.erase(1)  # the connection can write again


def test_transactions_do_not_nest(app):
    with app.app_context():
        for begin in (read_transaction, write_transaction):
            with pytest.raises(RuntimeError, match="within"), write_transaction(), begin():
                pass
        assert queries.get(1)


def test_no_connection_is_held_between_transactions(app):
    with app.app_context():
        queries.get(1)
        keys.any_made()
        next(queries.all_faces(Filters(), batch=1))
        with pytest.raises(NotFound):
            queries.erase(99)
        assert db.engine.pool.checkedout() == 0


def test_a_key_is_revoked_while_others_write(app):
    stop = threading.Event()
    failures = []

    def write():
        with app.app_context():
            while not stop.is_set():
                try:
                    queries.save(analysis(HAPPY))
                    queries.erase_matching(Filters(min_faces=5))
                except Exception as error:
                    failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    with app.app_context():
        ids = [issue(f"key {n}", [Right.READ]).split("_")[1] for n in range(6)]
        for thread in threads:
            thread.start()
        try:
            for key_id in ids:
                keys.revoke(key_id)
        finally:
            stop.set()
            for thread in threads:
                thread.join(30)
        assert all(key.revoked_at for key in keys.every())
    assert failures == []


def test_where_no_connection_is_free_nobody_waits_for_long(app):
    with app.app_context(), ExitStack() as held:
        pool = db.engine.pool
        for _ in range(pool.size() + pool._max_overflow):
            held.enter_context(db.engine.connect())
        began = time.perf_counter()
        answer = REQUESTS["images"](app.test_client())
        assert time.perf_counter() - began < SLOWEST
        assert answer.json["type"] == "urn:emotion:problem:store-unavailable"
    assert REQUESTS["images"](app.test_client()).status_code == 200


# ---------------------------------------------------------------- PostgreSQL, by a bad network


@pytest.fixture
def proxy(migrated_postgres_url):
    proxy = Proxy(migrated_postgres_url)
    yield proxy
    proxy.close()


@pytest.fixture
def remote(make_app, proxy):
    app = make_app(database_url=proxy.url, request_seconds=SECONDS)
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.mark.postgres
@pytest.mark.parametrize("connected", [True, False])
def test_a_server_that_does_not_answer_is_not_waited_for(remote, proxy, connected):
    if not connected:
        with remote.app_context():
            db.engine.dispose()
    proxy.frozen.set()
    began = time.perf_counter()
    answer = post(remote.test_client())
    assert answer.status_code == 503
    assert time.perf_counter() - began < SLOWEST
    proxy.frozen.clear()
    assert post(remote.test_client()).status_code == 201
    assert count(remote) == 1


@pytest.mark.postgres
def test_where_commit_has_no_answer_the_client_is_told_that_it_is_not_known(remote, proxy):
    client = remote.test_client()
    headers = {"Idempotency-Key": "one"}
    proxy.cut_at = b"COMMIT\0"
    answer = client.post("/v1/images", data=picture(), content_type="image/png", headers=headers)
    assert (answer.status_code, answer.json["type"]) == (503, "urn:emotion:problem:outcome-unknown")
    assert "Idempotency-Key" in answer.json["detail"]
    proxy.cut_at = None
    assert count(remote) == 1
    again = client.post("/v1/images", data=picture(), content_type="image/png", headers=headers)
    assert again.status_code == 201
    assert count(remote) == 1


@pytest.mark.postgres
def test_what_is_lost_before_commit_is_known_not_to_be_kept(remote, proxy):
    proxy.cut_at = b"INSERT INTO images"
    answer = post(remote.test_client())
    assert answer.json["type"] == "urn:emotion:problem:store-unavailable"
    proxy.cut_at = None
    assert count(remote) == 0


def test_the_two_errors_of_a_lost_connection_are_different():
    assert not issubclass(OutcomeUnknown, StoreUnavailable)
