"""Connects the application to its database.

Reads the database URL, creates a private SQLite file, and configures the engine.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from flask import Flask, current_app
from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import ArgumentError

from app.store.causes import FaultLog
from app.store.connections import prepare_engine
from app.store.files import make_private_folder
from app.store.tables import db
from app.store.wal import WalCleaner

POOLED_CONNECTIONS = 4
SPARE_CONNECTIONS = 1  # for the thread of WalCleaner
POOL_SECONDS = 1.0  # maximum wait for a connection; a safeguard, because each thread has one
SQLITE = "sqlite:///"

_create_lock = threading.Lock()


def init_database(app: Flask, url: str, *, connections: int, migrations: Path) -> None:
    """Bind the tables and the migrations to `app`, without connecting.

    `connections` must be the number of threads that use the database, so that no thread waits for
    a connection. Up to POOLED_CONNECTIONS of the connections stay open. Raises ValueError if
    the URL is not a SQLite file or a PostgreSQL database, or if a folder cannot be created.
    """
    app.config["SQLALCHEMY_DATABASE_URI"] = _database_url(url)
    pooled = min(connections, POOLED_CONNECTIONS)
    # The pool checks a connection before each use, and replaces it if the server has closed it.
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "pool_pre_ping": True,
        "pool_size": pooled,
        "max_overflow": connections - pooled + SPARE_CONNECTIONS,
        "pool_timeout": POOL_SECONDS,
    }
    db.init_app(app)
    app.extensions["migrations"] = migrations
    app.extensions["fault_log"] = FaultLog()
    with app.app_context():
        engine = db.engine
    prepare_engine(engine)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "do_connect", _make_private_file)
    app.extensions["wal_cleaner"] = WalCleaner(engine)


def wal_cleaner() -> WalCleaner:
    return cast(WalCleaner, current_app.extensions["wal_cleaner"])


def _database_url(text: str) -> URL:
    """Return the URL with the installed driver. Creates the folder of a SQLite file."""
    if text.startswith("sqlite:"):
        path = text.removeprefix(SQLITE)
        if path in (text, "", ":memory:"):
            raise ValueError(
                "a SQLite URL must be sqlite:///<path>; in-memory databases are not supported"
            )
        # The path is taken literally, because it may contain characters such as %, # and ?.
        # A relative path starts at the current folder.
        file = Path(path).resolve()
        try:
            make_private_folder(file.parent)
        except OSError as error:
            raise ValueError(f"cannot create folder {file.parent}: {error.strerror}") from error
        return URL.create("sqlite", database=str(file))
    try:
        url = make_url(text)
        float(str(url.query.get("connect_timeout", 0)))
    except (ArgumentError, ValueError) as error:
        raise ValueError("invalid database URL") from error
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise ValueError("must be sqlite:///<path> or postgresql://…")
    if "@" in (url.host or ""):
        raise ValueError("an @ in the user or the password must be written as %40")
    _check_options(url)
    return url.set(drivername="postgresql+psycopg")


def _check_options(url: URL) -> None:
    """Raise ValueError for an unknown option in a PostgreSQL URL."""
    from psycopg import Error, conninfo  # noqa: PLC0415 - not with SQLite

    for name, value in url.normalized_query.items():
        try:
            conninfo.make_conninfo("", **{name: value[-1]})
        except Error as error:
            raise ValueError(f"PostgreSQL does not know the option {name!r}") from error


def _make_private_file(_dialect: Any, _record: Any, args: list[str], _parameters: Any) -> None:
    """Create a missing database file with mode 0600. SQLite gives its log files the same mode."""
    # Closing any descriptor of a file drops all POSIX locks of the process on it. O_EXCL and
    # `_create_lock` ensure that this function never opens a file that SQLite has open.
    with _create_lock, suppress(OSError):  # the file exists, or SQLite reports the error
        os.close(os.open(args[0], os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
