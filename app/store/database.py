"""Connections: what a database needs to be told before it is used."""

from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import URL, Connection, Engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, DatabaseError, InterfaceError, OperationalError

from app.errors import StoreUnavailable
from app.store.tables import db

BUSY_TIMEOUT_MS = 30_000
KEPT_CONNECTIONS = 4
UNDEFINED_TABLE = "42P01"  # of PostgreSQL; SQLite's is an OperationalError


def init_database(app: Flask, url: str, *, connections: int, migrations: Path) -> None:
    """Bind the tables and the migrations to `app`, with at most so many connections, of which a
    few are kept open once they are needed. Connects to nothing yet.

    Raises ValueError for a URL that is neither a SQLite file's nor PostgreSQL's.
    """
    app.config["SQLALCHEMY_DATABASE_URI"] = _database_url(url)
    # A connection that the server closed while it was idle is replaced, not handed out.
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "pool_pre_ping": True,
        "pool_size": min(connections, KEPT_CONNECTIONS),
        "max_overflow": max(0, connections - KEPT_CONNECTIONS),
    }
    db.init_app(app)
    app.extensions["migrations"] = migrations


def _database_url(text: str) -> URL:
    """The URL with the driver that is installed here, and the folder of a SQLite file made."""
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise ValueError("it is no database URL") from error
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername != "sqlite" or url.database in (None, "", ":memory:"):
        raise ValueError("it must be sqlite:///<file> or postgresql://…")
    # Relative to where the service is started, as a shell would read it.
    file = Path(str(url.database)).resolve()
    file.parent.mkdir(parents=True, exist_ok=True)
    return url.set(database=str(file))


@event.listens_for(Engine, "connect")
def _prepare_sqlite(connection: Any, _record: Any) -> None:
    if not type(connection).__module__.startswith("sqlite3"):
        return
    # The driver begins a transaction before writes only; `_begin` does for reads too.
    connection.isolation_level = None
    cursor = connection.cursor()
    # First the time-out: switching to WAL itself needs a moment alone.
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    # Readers and one writer at a time do not block each other.
    cursor.execute("PRAGMA journal_mode = WAL")
    # 201 means committed: NORMAL could lose the last commits when the power goes.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    # What is erased is overwritten, not only forgotten.
    cursor.execute("PRAGMA secure_delete = ON")
    cursor.close()


@event.listens_for(Engine, "connect")
def _prepare_postgresql(connection: Any, _record: Any) -> None:
    if not type(connection).__module__.startswith("psycopg"):
        return
    # Reading ends after some thousand rows. To start helpers or a compiler for it takes longer than
    # the query itself, and the planner, who does not see the end, often would.
    connection.execute("SET jit = off")
    connection.execute("SET max_parallel_workers_per_gather = 0")
    connection.commit()


@event.listens_for(Engine, "begin")
def _begin(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN")


@event.listens_for(Engine, "handle_error")
def _in_our_words(context: ExceptionContext) -> None:
    """Away, full, read-only, locked, no database at all or not migrated: one error of the domain,
    whichever query met it."""
    if context.is_pre_ping:
        return  # the pool is about to replace a connection that was cut
    error = context.sqlalchemy_exception
    unusable = isinstance(error, OperationalError | InterfaceError) or type(error) is DatabaseError
    not_migrated = getattr(context.original_exception, "sqlstate", None) == UNDEFINED_TABLE
    if unusable or not_migrated:
        raise StoreUnavailable("the database is away or not ready") from context.original_exception
