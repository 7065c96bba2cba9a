"""What every query runs in."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from app.store.tables import db

log = logging.getLogger(__name__)

LOG_PATIENCE_MS = 1000


@contextmanager
def snapshot() -> Iterator[None]:
    """One state of the database for all queries of the block: an image that is erased meanwhile
    is seen whole or not at all."""
    db.session.rollback()
    if db.engine.dialect.name == "postgresql":  # SQLite's transactions are snapshots anyway
        db.session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    yield


@contextmanager
def transaction() -> Iterator[None]:
    """Commit what the block did; whatever it raises, keep nothing of it."""
    # Anew: SQLite refuses to write in a transaction that has read what others changed since.
    db.session.rollback()
    try:
        yield
        db.session.commit()
    except BaseException:
        db.session.rollback()
        raise


def overwrite_log() -> None:
    """After an erasure: SQLite's write-ahead log still holds the pages as they were before. It is
    moved into the file and emptied; where somebody goes on reading, the next erasure does it."""
    if db.engine.dialect.name != "sqlite":
        return
    # Past SQLAlchemy, which would begin a transaction.
    connection = db.engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {LOG_PATIENCE_MS}")
        (busy, *_) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            log.info("what was erased is in the write-ahead log until nobody reads")
    except sqlite3.Error as error:  # the erasure itself is committed
        log.warning("the write-ahead log was not emptied: %s", error)
    finally:
        connection.invalidate()  # closed, for its patience is not what others expect
        connection.close()
