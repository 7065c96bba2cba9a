"""Settings and time limits of every connection and every transaction of the engine.

The execution options of a transaction say whether it is READ or WRITE and may limit how long it
waits for locks. The deadline of the current request, `flask.g.deadline`, limits everything: waiting
for a connection, waiting for locks, and each query. Outside of requests there is no deadline, and
only the wait for locks is limited.
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
FILE = "file"  # (path, identity) of the open SQLite file, in the info of a pooled connection
COMMAND_LOCK_SECONDS = 30.0
COMMAND_CONNECT_SECONDS = 10.0
AWAY = "the database is away or not ready"
TIMER_SECONDS = 0.05  # a lock timeout may end so long before the deadline
STEPS_A_CHECK = 200_000  # of SQLite's virtual machine between two checks: some milliseconds
CLEAN_UP_SECONDS = 0.5  # for a failed request to remove what it left
LEAST_CONNECT_SECONDS = 2  # the shortest timeout of libpq


def current_deadline() -> Deadline:
    """The deadline of the current request; NEVER outside of requests."""
    deadline: Deadline = g.get("deadline", NEVER) if has_app_context() else NEVER
    return deadline


def renew_deadline() -> None:
    """Give the next part of a streamed response the full time of a request."""
    if "deadline" in g:
        g.deadline = Deadline.after(current_app.extensions["settings"].request_seconds)


@contextmanager
def time_to_clean_up() -> Iterator[None]:
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
    """Install these settings and limits on an engine of the service."""
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
    """Set how long a connection of sqlite3 waits for locks."""
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
    # The driver begins a transaction before writes only; `_begin_sqlite` does for reads too.
    connection.isolation_level = None
    # The lock timeout comes first: switching to WAL needs a short exclusive lock.
    set_lock_timeout(connection, _lock_seconds())
    # Readers and one writer at a time do not block each other.
    connection.execute("PRAGMA journal_mode = WAL")
    # 201 means committed: NORMAL could lose the last commits when the power goes.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # Overwrite erased data with zeros.
    connection.execute("PRAGMA secure_delete = ON")


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode of a file; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - called for each transaction
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _refuse_replaced_file(connection: Connection) -> None:
    """SQLite would go on writing to a file that was removed or replaced, which nobody can read
    afterwards. Raises StoreUnavailable."""
    path, opened = connection.connection.info[FILE]
    if _identity(path) == opened:
        return
    connection.invalidate()
    if has_request_context():
        fault_log().failed(causes.FILE_REPLACED, causes.FILE_REPLACED.advice, write=True)
    raise StoreUnavailable(AWAY, for_operator=causes.FILE_REPLACED.advice)


def _begin_sqlite(connection: Connection) -> None:
    deadline = current_deadline()
    deadline.check()
    _refuse_replaced_file(connection)
    mode = connection.get_execution_options().get(MODE)
    driver: Any = connection.connection.dbapi_connection
    # The connection comes from the pool: replace what the previous transaction has set.
    set_lock_timeout(driver, _lock_seconds(connection))
    driver.execute(f"PRAGMA query_only = {int(mode == READ)}")
    is_late = None if deadline is NEVER else lambda: deadline.remaining() <= 0
    driver.set_progress_handler(is_late, STEPS_A_CHECK)
    # A transaction that reads and then writes fails if another one wrote in between, so a writing
    # transaction takes the write lock when it begins.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if mode == WRITE else "BEGIN")


# ---------------------------------------------------------------- PostgreSQL


def _connect_postgresql(_dialect: Any, _record: Any, args: Any, parameters: dict[str, Any]) -> Any:
    from app.store.postgresql import BoundedConnection  # noqa: PLC0415 - not with SQLite

    deadline = current_deadline()
    deadline.check()
    limit = float(parameters.get("connect_timeout", COMMAND_CONNECT_SECONDS))  # of the URL
    seconds = max(LEAST_CONNECT_SECONDS, int(min(limit, deadline.remaining())))
    parameters = {**parameters, "connect_timeout": seconds}
    connection = BoundedConnection.connect(*args, **parameters)
    connection.until = lambda: current_deadline().until
    return connection


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    # Queries end after some thousand rows, which the planner often overestimates: starting parallel
    # workers or the compiler would take longer than the query.
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


# ---------------------------------------------------------------- both


def _check_deadline(*_arguments: Any) -> None:
    current_deadline().check()


def _translate_error(context: ExceptionContext) -> None:
    """Raise an error of the domain for a driver's error, and tell the operator the cause."""
    error = context.original_exception
    if context.is_pre_ping or (cause := causes.explain(error)) is None:
        return  # the pool replaces a connection that was cut, or the statement itself is wrong
    options = context.connection.get_execution_options() if context.connection else {}
    if cause is causes.READ_ONLY and options.get(MODE) == READ:
        raise RuntimeError("a read transaction must not write") from error
    late = current_deadline().remaining() < TIMER_SECONDS
    if cause is causes.TOO_SLOW and late:
        raise DeadlineExceeded(TOO_LATE) from error
    password = context.engine.url.password if context.engine else None
    said = causes.sentence(cause, error, str(password) if password else None)
    gave_up_early = cause is causes.LOCKED and LOCK_SECONDS in options
    if has_request_context() and not gave_up_early:  # commands print the sentence themselves
        fault_log().failed(cause, said, write=options.get(MODE) == WRITE)
    if late and not context.is_disconnect:
        raise DeadlineExceeded(TOO_LATE) from error
    raise StoreUnavailable(
        AWAY, for_operator=said, connection_lost=context.is_disconnect
    ) from error
