"""The two kinds of transactions in which every query runs.

Both end with their block, so no connection and no snapshot is held while a response is sent. The
deadline of the request limits both (see connections.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import has_request_context
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from app.errors import OutcomeUnknown, StoreUnavailable
from app.store.causes import NO_CONNECTION
from app.store.connections import (
    AWAY,
    LOCK_SECONDS,
    MODE,
    READ,
    WRITE,
    current_deadline,
    fault_log,
)
from app.store.tables import db

_OPEN = "transaction"


@contextmanager
def read_transaction() -> Iterator[None]:
    """One state of the database for all queries of the block: they see an image that is erased
    meanwhile either whole or not at all. Writing raises RuntimeError.

    Raises StoreUnavailable, and DeadlineExceeded after the request's deadline.
    """
    options: dict[str, object] = {MODE: READ}
    if db.engine.dialect.name == "postgresql":  # SQLite's transactions are snapshots anyway
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with _transaction(options):
        yield


@contextmanager
def write_transaction(*, lock_seconds: float | None = None) -> Iterator[None]:
    """Commit the changes of the block, or roll them back when it raises.

    Waits for locks until the request's deadline, or for `lock_seconds` if given. A transaction that
    is not ready for COMMIT at the deadline is rolled back.

    Raises StoreUnavailable, DeadlineExceeded after the deadline, and OutcomeUnknown when the
    connection was lost during COMMIT.
    """
    options: dict[str, object] = {MODE: WRITE}
    if lock_seconds is not None:
        options[LOCK_SECONDS] = lock_seconds
    with _transaction(options):
        yield
        db.session.flush()
        current_deadline().check()
        try:
            db.session.commit()
        except StoreUnavailable as error:
            if error.connection_lost:
                raise OutcomeUnknown(
                    "the connection to the database was lost during the commit, so the request may "
                    "have been stored or not: send it again with the same Idempotency-Key, or look "
                    "for its result"
                ) from error
            raise


@contextmanager
def _transaction(options: dict[str, object]) -> Iterator[None]:
    session = db.session()
    if session.info.get(_OPEN):
        raise RuntimeError("a transaction cannot begin within another one")
    session.rollback()  # tests query outside of transactions
    session.info[_OPEN] = True
    try:
        session.connection(execution_options=options)
        yield
    except NoFreeConnection as error:
        if has_request_context():
            fault_log().failed(NO_CONNECTION, NO_CONNECTION.advice, write=options[MODE] == WRITE)
        raise StoreUnavailable(AWAY, for_operator=NO_CONNECTION.advice) from error
    finally:
        session.info[_OPEN] = False
        session.close()
    fault_log().worked(write=options[MODE] == WRITE)
