"""Read and write transactions.

Each query runs in one of them. A transaction ends with its block, so the service holds no
connection while it sends a response. The deadline of the request limits all transactions (see
connections.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import has_request_context
from sqlalchemy.exc import TimeoutError as NoFreeConnection

from app.errors import OutcomeUnknown, StoreUnavailable
from app.store.causes import NO_CONNECTION
from app.store.connections import (
    LOCK_SECONDS,
    MODE,
    READ,
    UNAVAILABLE,
    WRITE,
    current_deadline,
    fault_log,
)
from app.store.tables import db

_OPEN = "transaction"


@contextmanager
def read_transaction() -> Iterator[None]:
    """Run the queries of the block on one snapshot of the database.

    Raises RuntimeError if the block writes, StoreUnavailable, and DeadlineExceeded after the
    deadline of the request.
    """
    options: dict[str, object] = {MODE: READ}
    if db.engine.dialect.name == "postgresql":  # in SQLite, each transaction is a snapshot
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with _transaction(options):
        yield


@contextmanager
def write_transaction(*, lock_seconds: float | None = None) -> Iterator[None]:
    """Commit the changes of the block, or roll them back if it raises.

    The transaction waits for locks until the deadline of the request, or for `lock_seconds` if that
    is set. Raises StoreUnavailable, DeadlineExceeded if the block is not complete at the deadline,
    and OutcomeUnknown if the connection was lost during COMMIT.
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
                    "the connection to the database was lost during the commit, so it is unknown "
                    "whether the result was stored: send the request again with the same "
                    "Idempotency-Key, or look for the result"
                ) from error
            raise


@contextmanager
def _transaction(options: dict[str, object]) -> Iterator[None]:
    session = db.session()
    if session.info.get(_OPEN):
        raise RuntimeError("transactions cannot be nested")
    session.rollback()  # ends a transaction that a test has left open
    session.info[_OPEN] = True
    try:
        session.connection(execution_options=options)
        yield
    except NoFreeConnection as error:
        if has_request_context():
            fault_log().record_failure(
                NO_CONNECTION, NO_CONNECTION.advice, write=options[MODE] == WRITE
            )
        raise StoreUnavailable(UNAVAILABLE, for_operator=NO_CONNECTION.advice) from error
    finally:
        session.info[_OPEN] = False
        session.close()
    fault_log().record_success(write=options[MODE] == WRITE)
