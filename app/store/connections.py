"""Settings and time limits of the database connections and transactions.

The execution options of a transaction hold its mode, READ or WRITE, and may limit its wait for
locks. The deadline of the current request, `flask.g.deadline`, limits the wait for a connection,
the wait for locks, and each query. Outside of requests there is no deadline, and only the wait for
locks is limited.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import current_app, g, has_app_context, has_request_context
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext

from app.deadline import NEVER, TOO_LATE, Deadline
from app.errors import DeadlineExceeded, StoreUnavailable
from app.store import causes
from app.store.causes import FaultLog

MODE, READ, WRITE = "transaction_mode", "read", "write"
LOCK_SECONDS = "lock_seconds"
FILE = "file"  # key in the info of a pooled connection; see `_prepare_sqlite`
COMMAND_LOCK_SECONDS = 30.0
COMMAND_CONNECT_SECONDS = 10.0
UNAVAILABLE = "the database is unavailable"
TIMER_SECONDS = 0.05  # tolerance: a lock timeout may end this long before the deadline
STEPS_PER_CHECK = 200_000  # SQLite instructions between two deadline checks, a few milliseconds
CLEAN_UP_SECONDS = 0.5  # time for a failed request to remove its file
MIN_CONNECT_SECONDS = 2  # libpq accepts no shorter timeout


def current_deadline() -> Deadline:
    """Return the deadline of the current request, or NEVER outside of requests."""
    deadline: Deadline = g.get("deadline", NEVER) if has_app_context() else NEVER
    return deadline


def renew_deadline() -> None:
    """Give the next part of a streamed response the full time of a request."""
    if "deadline" in g:
        g.deadline = Deadline.after(current_app.extensions["settings"].request_seconds)


@contextmanager
def clean_up_deadline() -> Iterator[None]:
    """Let the block use the database for CLEAN_UP_SECONDS, even after the request's deadline."""
    before = current_deadline()
    if before.remaining() >= CLEAN_UP_SECONDS:
        yield
        return
    g.deadline = Deadline.after(CLEAN_UP_SECONDS)
    try:
        yield
    finally:
        g.deadline = before


def fault_log() -> FaultLog:
    log: FaultLog = current_app.extensions["fault_log"]
    return log


def prepare_engine(engine: Engine) -> None:
    """Register the event listeners that apply the settings and limits to an engine."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "do_connect", _connect_postgresql)
        event.listen(engine, "connect", _prepare_postgresql)
        event.listen(engine, "begin", _begin_postgresql)
    event.listen(engine, "before_cursor_execute", _check_deadline)
    event.listen(engine, "handle_error", _translate_error)


def set_lock_timeout(connection: Any, seconds: float) -> None:
    """Set how long a connection of the sqlite3 module waits for locks."""
    connection.execute(f"PRAGMA busy_timeout = {math.ceil(max(seconds, 0) * 1000)}")


def _lock_seconds(connection: Connection | None = None) -> float:
    left = current_deadline().remaining()
    default = COMMAND_LOCK_SECONDS if math.isinf(left) else left
    options = connection.get_execution_options() if connection else {}
    return min(left, float(options.get(LOCK_SECONDS, default)))


# ---------------------------------------------------------------- SQLite


def _prepare_sqlite(connection: Any, record: Any) -> None:
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    record.info[FILE] = path, _identity(path)
    # The driver begins transactions before writes only. `_begin_sqlite` begins all of them.
    connection.isolation_level = None
    # The lock timeout comes first: switching to WAL needs a short exclusive lock.
    set_lock_timeout(connection, _lock_seconds())
    # Readers and one writer at a time do not block each other.
    connection.execute("PRAGMA journal_mode = WAL")
    # 201 means committed. NORMAL could lose the last commits on a power failure.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # Overwrite erased data with zeros.
    connection.execute("PRAGMA secure_delete = ON")


def _identity(path: str) -> tuple[int, int] | None:
    """Return the device and inode of a file, or None if it does not exist."""
    try:
        status = os.stat(path)  # noqa: PTH116 - called for each transaction
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _check_not_replaced(connection: Connection) -> None:
    """Raise StoreUnavailable if the database file was removed or replaced.

    SQLite would continue to write to the removed file, and these writes would be lost.
    """
    path, opened = connection.connection.info[FILE]
    if _identity(path) == opened:
        return
    connection.invalidate()
    if has_request_context():
        fault_log().record_failure(causes.FILE_REPLACED, causes.FILE_REPLACED.advice, write=True)
    raise StoreUnavailable(UNAVAILABLE, for_operator=causes.FILE_REPLACED.advice)


def _begin_sqlite(connection: Connection) -> None:
    deadline = current_deadline()
    deadline.check()
    _check_not_replaced(connection)
    mode = connection.get_execution_options().get(MODE)
    driver: Any = connection.connection.dbapi_connection
    # A pooled connection has the settings of its previous transaction.
    set_lock_timeout(driver, _lock_seconds(connection))
    driver.execute(f"PRAGMA query_only = {int(mode == READ)}")
    stop = None if deadline is NEVER else lambda: deadline.remaining() <= 0
    driver.set_progress_handler(stop, STEPS_PER_CHECK)
    # A write transaction takes the write lock when it begins. SQLite cannot upgrade a read
    # transaction to a write transaction after another transaction has committed.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if mode == WRITE else "BEGIN")


# ---------------------------------------------------------------- PostgreSQL


def _connect_postgresql(_dialect: Any, _record: Any, args: Any, parameters: dict[str, Any]) -> Any:
    from app.store.postgresql import BoundedConnection  # noqa: PLC0415 - not with SQLite

    deadline = current_deadline()
    deadline.check()
    limit = float(parameters.get("connect_timeout", COMMAND_CONNECT_SECONDS))
    seconds = max(MIN_CONNECT_SECONDS, int(min(limit, deadline.remaining())))
    parameters = {**parameters, "connect_timeout": seconds}
    connection = BoundedConnection.connect(*args, **parameters)
    connection.until = lambda: current_deadline().until
    return connection


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    # Queries read a few thousand rows. The planner often expects more and would start parallel
    # workers or the compiler, which takes longer than the query itself.
    connection.execute("SET jit = off")
    connection.execute("SET max_parallel_workers_per_gather = 0")
    connection.commit()


def _begin_postgresql(connection: Connection) -> None:
    deadline = current_deadline()
    deadline.check()
    limits = {"lock_timeout": _lock_seconds(connection)}
    if deadline is not NEVER:
        limits["statement_timeout"] = deadline.remaining()
    calls = ", ".join(
        f"set_config('{name}', '{max(1, math.ceil(seconds * 1000))}', true)"
        for name, seconds in limits.items()
    )
    connection.exec_driver_sql(f"SELECT {calls}")


# ---------------------------------------------------------------- both databases


def _check_deadline(*_arguments: Any) -> None:
    current_deadline().check()


def _translate_error(context: ExceptionContext) -> None:
    """Raise an EmotionError for a driver's error, and log the cause for the operator."""
    error = context.original_exception
    if context.is_pre_ping:  # the pool replaces the broken connection
        return
    if (cause := causes.explain(error)) is None:  # a bug, which the caller must see unchanged
        return
    options = context.connection.get_execution_options() if context.connection else {}
    if cause is causes.READ_ONLY and options.get(MODE) == READ:
        raise RuntimeError("a read transaction must not write") from error
    late = current_deadline().remaining() < TIMER_SECONDS
    if cause is causes.TOO_SLOW and late:
        raise DeadlineExceeded(TOO_LATE) from error
    password = context.engine.url.password if context.engine else None
    message = causes.operator_message(cause, error, str(password) if password else None)
    # A transaction with a short lock timeout is maintenance, which is tried again later.
    gave_up_early = cause is causes.LOCKED and LOCK_SECONDS in options
    if has_request_context() and not gave_up_early:  # commands print the message themselves
        fault_log().record_failure(cause, message, write=options.get(MODE) == WRITE)
    if late and not context.is_disconnect:
        raise DeadlineExceeded(TOO_LATE) from error
    raise StoreUnavailable(
        UNAVAILABLE, for_operator=message, connection_lost=context.is_disconnect
    ) from error
