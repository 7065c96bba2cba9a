"""Connections: what a database needs to be told before it is used."""

from pathlib import Path
from typing import Any

from flask import Flask
from flask_migrate import Migrate
from sqlalchemy import URL, Connection, Engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import InterfaceError, OperationalError

from app.errors import StoreUnavailable
from app.store.tables import db

BUSY_TIMEOUT_MS = 30_000


def init_database(app: Flask, url: str, *, connections: int, migrations: Path) -> None:
    """Bind the tables and the migrations to `app`, with so many connections kept open once they
    are needed. Connects to nothing yet."""
    parsed = _with_driver(make_url(url))
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    app.config["SQLALCHEMY_DATABASE_URI"] = parsed
    # A connection that the server closed while it was idle is replaced, not handed out.
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_pre_ping": True, "pool_size": connections}
    db.init_app(app)
    Migrate(app, db, directory=str(migrations), render_as_batch=True)


def _with_driver(url: URL) -> URL:
    """Operators write postgresql://…; the driver is ours to name."""
    if url.drivername in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    return url


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
    cursor.close()


@event.listens_for(Engine, "begin")
def _begin(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN")


@event.listens_for(Engine, "handle_error")
def _in_our_words(context: ExceptionContext) -> None:
    """Away, full, read-only or locked: one error of the domain, whichever query met it."""
    if isinstance(context.sqlalchemy_exception, OperationalError | InterfaceError):
        raise StoreUnavailable("the database does not answer") from context.original_exception
