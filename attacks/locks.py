"""A database with a lock held by another process."""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import psycopg

from attacks.result import Result, Skip, counted
from attacks.target import Response, Target, target

POSTS = 6
DEADLINE_SECONDS = 3.0
ANSWER_SECONDS = 4.0
LATE_SECONDS = 2.0  # writes after the responses would be visible after this time
CREATED, NO_CONTENT, UNAVAILABLE = 201, 204, 503
_DATABASE = f"emotion_attack_{os.getpid()}"

Lock = Callable[[], AbstractContextManager[object]]


def locked_sqlite(quick: bool) -> Iterator[Result]:
    """SQLite with an exclusive transaction of another process."""
    for seconds in (6.0,) if quick else (6.0, 12.0):
        with target(EMOTION_REQUEST_SECONDS=f"{DEADLINE_SECONDS:g}") as service:
            file = service.folder / "service.db"

            @contextlib.contextmanager
            def lock(file: object = file) -> Iterator[None]:
                with contextlib.closing(sqlite3.connect(str(file), isolation_level=None)) as other:
                    other.execute("BEGIN EXCLUSIVE")
                    yield

            yield _result(f"SQLite locked for {seconds:g} s", service, lock, seconds)


def locked_postgresql(quick: bool) -> Iterator[Result]:
    """PostgreSQL with an exclusive lock on the table of images."""
    server = os.environ.get("TEST_POSTGRES_URL")
    if not server:
        raise Skip("TEST_POSTGRES_URL is not set")
    for seconds in (6.0,) if quick else (6.0, 12.0):
        with (
            _database(server) as url,
            target(
                EMOTION_REQUEST_SECONDS=f"{DEADLINE_SECONDS:g}", EMOTION_DATABASE_URL=url
            ) as service,
        ):

            @contextlib.contextmanager
            def lock(url: str = url) -> Iterator[None]:
                with psycopg.connect(url) as other:
                    other.execute("LOCK TABLE images IN ACCESS EXCLUSIVE MODE")
                    yield
                    other.rollback()

            yield _result(f"PostgreSQL locked for {seconds:g} s", service, lock, seconds)


def _result(name: str, service: Target, lock: Lock, seconds: float) -> Result:
    stored = service.post()
    with ThreadPoolExecutor(POSTS + 1) as pool:
        with _held(lock, seconds):
            posts = [pool.submit(service.post) for _ in range(POSTS)]
            deletion = pool.submit(service.request, "DELETE", "/v1/images/1")
        responses: list[Response] = [post.result() for post in posts]
        deleted = deletion.result()
    time.sleep(LATE_SECONDS)
    remaining = len(service.images())
    following = service.post().status
    statuses = [response.status for response in responses]
    slowest = max(response.seconds for response in (*responses, deleted))
    return Result(
        name,
        POSTS + 1,
        f"posts {counted(statuses)}, a deletion {counted([deleted.status])}, after at most "
        f"{slowest:.1f} s; {remaining - 1} of the posts stored; a post afterwards {following}",
        f"503 within {ANSWER_SECONDS:g} s (deadline {DEADLINE_SECONDS:g} s), nothing changed, "
        "a post afterwards 201",
        stored.status == following == CREATED
        and {*statuses, deleted.status} == {UNAVAILABLE}
        and slowest <= ANSWER_SECONDS
        and remaining == 1,
    )


@contextlib.contextmanager
def _held(lock: Lock, seconds: float) -> Iterator[None]:
    """Hold the lock for `seconds`, from before the start of the block."""
    locked = threading.Event()

    def hold() -> None:
        with lock():
            locked.set()
            time.sleep(seconds)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        if not locked.wait(10):
            raise RuntimeError("the database could not be locked")
        yield
    finally:
        thread.join()


@contextlib.contextmanager
def _database(server: str) -> Iterator[str]:
    """Create an empty database on the server for the block."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {_DATABASE}")
        try:
            yield f"{server.rpartition('/')[0]}/{_DATABASE}"
        finally:
            connection.execute(f"DROP DATABASE {_DATABASE} WITH (FORCE)")
