"""What every query runs in."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.store.tables import db


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
