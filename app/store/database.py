"""The database of the service: where it is, and the engine that connects to it."""

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
from app.store.tables import db
from app.store.wal import WalCleaner

KEPT_CONNECTIONS = 4
SPARE_CONNECTIONS = 1  # for the thread of WalCleaner
POOL_SECONDS = 1.0  # for a connection of another thread, which nobody should need
SQLITE = "sqlite:///"

_making = threading.Lock()


def init_database(app: Flask, url: str, *, connections: int, migrations: Path) -> None:
    """Bind the tables and the migrations to `app`, with at most so many connections, of which a
    few are kept open once they are needed. Connects to nothing yet.

    `connections` must be the number of threads that use the database: then none waits for another
    one's connection. Raises ValueError for a URL that is neither a SQLite file's nor PostgreSQL's,
    and for a folder that cannot be made.
    """
    app.config["SQLALCHEMY_DATABASE_URI"] = _database_url(url)
    kept = min(connections, KEPT_CONNECTIONS)
    # A connection that the server closed while it was idle is replaced, not handed out.
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "pool_pre_ping": True,
        "pool_size": kept,
        "max_overflow": connections - kept + SPARE_CONNECTIONS,
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
    """The URL with the driver that is installed here, and the folder of a SQLite file made."""
    if text.startswith("sqlite:"):
        path = text.removeprefix(SQLITE)
        if path in (text, "", ":memory:"):
            raise ValueError("a SQLite database is a file: sqlite:///<path>")
        # The path as it stands: it may hold any of the characters that mean something in a URL.
        # Relative to where the service is started, as a shell would read it.
        file = Path(path).resolve()
        _make_private_folder(file.parent)
        return URL.create("sqlite", database=str(file))
    try:
        url = make_url(text)
        float(str(url.query.get("connect_timeout", 0)))
    except (ArgumentError, ValueError) as error:  # ValueError of what is no number
        raise ValueError("it is no database URL") from error
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise ValueError("it must be sqlite:///<path> or postgresql://…")
    return url.set(drivername="postgresql+psycopg")


def _make_private_folder(folder: Path) -> None:
    """With all that is missing above it, for its owner only. One that is there stays as it is."""
    try:
        for path in (*reversed(folder.parents), folder):
            if not path.is_dir():
                path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ValueError(f"the folder {folder} cannot be made: {error.strerror}") from error


def _make_private_file(_dialect: Any, _record: Any, args: list[str], _parameters: Any) -> None:
    """Make a database file that its owner alone can read. SQLite gives its log the same mode."""
    # O_EXCL, and one thread at a time: to close a file that SQLite has open in this process would
    # end SQLite's locks on it (POSIX).
    with _making, suppress(OSError):  # it is there, or SQLite itself says what is wrong
        os.close(os.open(args[0], os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
