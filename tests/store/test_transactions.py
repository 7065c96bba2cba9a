"""Time limits, permissions and failures of transactions."""

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
from tests.conftest import image_file, upload
from tests.store.proxy import Proxy
from tests.store.test_queries import HAPPY, analysis

pytestmark = pytest.mark.waits

SECONDS = 0.6  # the time limit of requests
MAX_SECONDS = 5.0  # tolerance for a busy machine


@pytest.fixture
def app(make_app, database_url):
    """A service with an image of id 1 and a time limit of SECONDS for requests."""
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
    """Lock the tables against writes, and on PostgreSQL also against reads."""
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
    assert time.perf_counter() - began < MAX_SECONDS


def post(client):
    return client.post("/v1/images", data={"image": upload(image_file())})


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


@pytest.mark.parametrize("request_name", ["post", "erase", "erase many"])
def test_request_that_waits_for_a_lock_changes_nothing_after_its_deadline(app, request_name):
    began = time.perf_counter()
    with locked(app, "images"):
        response = REQUESTS[request_name](app.test_client())
        assert time.perf_counter() - began < MAX_SECONDS
    assert response.status_code == 503
    assert response.json["type"] == "urn:emotion:problem:took-too-long"
    time.sleep(0.2)
    assert count(app) == 1


@pytest.mark.postgres  # in SQLite, readers do not wait
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
@pytest.mark.parametrize("request_name", REQUESTS)
def test_every_request_ends_in_time_while_all_tables_are_locked(app, request_name):
    tables = ("images", "faces", "emotions", "keys", "retries", "mark", "hours")
    began = time.perf_counter()
    with locked(app, *tables):
        response = REQUESTS[request_name](app.test_client())
    assert time.perf_counter() - began < MAX_SECONDS
    assert response.status_code == 503, response.text
    assert response.headers["Retry-After"]


def test_transaction_is_rolled_back_after_the_deadline(app):
    with app.app_context():
        with deadline(0.2), pytest.raises(DeadlineExceeded), write_transaction():
            db.session.execute(ImageRow.__table__.delete())
            time.sleep(0.3)
        assert queries.get(1)


def test_long_query_is_cancelled_at_the_deadline(app):
    long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with app.app_context():
        for begin in (read_transaction, write_transaction):
            with deadline(0.3), pytest.raises(DeadlineExceeded), begin():
                db.session.execute(text(long))
        assert queries.get(1)  # the same connection still works


def test_many_short_queries_end_at_the_deadline(app):
    with app.app_context(), deadline(0.3), pytest.raises(DeadlineExceeded), read_transaction():
        while True:
            db.session.scalar(text("SELECT 1"))


def test_no_transaction_begins_after_the_deadline(app):
    with app.app_context(), deadline(-1):
        for begin in (read_transaction, write_transaction):
            with pytest.raises(DeadlineExceeded), begin():
                pytest.fail("the transaction began")


def test_export_gets_a_new_deadline_for_each_page(app):
    with app.app_context():
        for _ in range(4):
            queries.save(analysis(HAPPY))
        with deadline(SECONDS):
            seen = 0
            for _ in queries.all_faces(Filters(), batch=1):
                time.sleep(SECONDS / 2)
                seen += 1
            assert seen == 5
        renew_deadline()  # outside of requests there is no deadline
        assert "deadline" not in g


def test_transaction_without_a_deadline_waits_for_a_lock(app):
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


def test_read_transaction_cannot_write(app):
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


def test_nested_transactions_are_rejected(app):
    with app.app_context():
        for begin in (read_transaction, write_transaction):
            with pytest.raises(RuntimeError, match="nested"), write_transaction(), begin():
                pass
        assert queries.get(1)


def test_no_connection_is_held_between_transactions(app):
    with app.app_context():
        queries.get(1)
        keys.any_exists()
        next(queries.all_faces(Filters(), batch=1))
        with pytest.raises(NotFound):
            queries.erase(99)
        assert db.engine.pool.checkedout() == 0


def test_key_can_be_revoked_during_parallel_writes(app):
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
        assert all(key.revoked_at for key in keys.find_all())
    assert failures == []


def test_request_without_a_free_connection_fails_soon(app):
    with app.app_context(), ExitStack() as held:
        pool = db.engine.pool
        for _ in range(pool.size() + pool._max_overflow):
            held.enter_context(db.engine.connect())
        began = time.perf_counter()
        response = REQUESTS["images"](app.test_client())
        assert time.perf_counter() - began < MAX_SECONDS
        assert response.json["type"] == "urn:emotion:problem:store-unavailable"
    assert REQUESTS["images"](app.test_client()).status_code == 200


# ---------------------------------------------------------------- PostgreSQL, network failures


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
def test_request_fails_soon_if_the_server_does_not_respond(remote, proxy, connected):
    if not connected:
        with remote.app_context():
            db.engine.dispose()
    proxy.frozen.set()
    began = time.perf_counter()
    response = post(remote.test_client())
    assert response.status_code == 503
    assert time.perf_counter() - began < MAX_SECONDS
    proxy.frozen.clear()
    assert post(remote.test_client()).status_code == 201
    assert count(remote) == 1


@pytest.mark.postgres
def test_lost_commit_returns_outcome_unknown(remote, proxy):
    client = remote.test_client()
    headers = {"Idempotency-Key": "one"}
    assert client.get("/v1/images").status_code == 200  # a new connection commits its settings
    proxy.cut_at = b"COMMIT\0"
    response = client.post(
        "/v1/images", data=image_file(), content_type="image/png", headers=headers
    )
    assert (response.status_code, response.json["type"]) == (
        503,
        "urn:emotion:problem:outcome-unknown",
    )
    assert "Idempotency-Key" in response.json["detail"]
    proxy.cut_at = None
    assert count(remote) == 1
    replay = client.post("/v1/images", data=image_file(), content_type="image/png", headers=headers)
    assert replay.status_code == 201
    assert count(remote) == 1


@pytest.mark.postgres
def test_connection_lost_before_commit_returns_store_unavailable(remote, proxy):
    proxy.cut_at = b"INSERT INTO images"
    response = post(remote.test_client())
    assert response.json["type"] == "urn:emotion:problem:store-unavailable"
    proxy.cut_at = None
    assert count(remote) == 0


def test_outcome_unknown_is_not_a_store_unavailable_error():
    assert not issubclass(OutcomeUnknown, StoreUnavailable)
