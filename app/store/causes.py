"""Explains database errors to the operator.

`explain` returns the cause of a driver's error. `operator_message` adds the driver's message to the
advice of the cause. `FaultLog` logs this message once per cause instead of once per request. No
response contains these texts.
"""

import logging
import math
import sqlite3
import threading
import time
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

REPEAT_SECONDS = 60.0  # minimum time between two log records of the same cause
REPEAT_SECONDS_AFTER_RECOVERY = 5.0  # the same, if the database worked again after the first record
MAX_MESSAGE_LENGTH = 300  # characters of the driver's message


@dataclass(frozen=True, slots=True)
class Cause:
    """A cause of database errors. `advice` says what is wrong and what the operator can do."""

    name: str
    advice: str


NOT_MIGRATED = Cause(
    "not migrated",
    "tables or columns are missing in the database: run `flask --app wsgi db upgrade`",
)
LOCKED = Cause(
    "locked",
    "the database is locked by another process: find the process with an open transaction (a "
    "backup, a shell, a migration) and end it",
)
READ_ONLY = Cause(
    "read-only",
    "the database cannot be written: check the owner and the permissions of the file and of its "
    "folder, and whether the file system or the server is read-only",
)
TOO_SLOW = Cause(
    "too slow",
    "a query was cancelled because it took too long: check statement_timeout on the "
    "database server",
)
DISK_FULL = Cause("disk full", "the disk of the database is full: free some space")
UNREACHABLE = Cause(
    "unreachable",
    "the database server cannot be reached: check that it runs, and that "
    "host and port in EMOTION_DATABASE_URL are correct",
)
UNRESPONSIVE = Cause(
    "unresponsive",
    "the database server did not answer before the deadline of a request: check its load and the "
    "network",
)
PASSWORD = Cause(
    "password",
    "the database server refused the user: check user and password in EMOTION_DATABASE_URL, and "
    "the server's pg_hba.conf",
)
NO_DATABASE = Cause(
    "no database",
    "the database does not exist on the server: create it, or check its name in "
    "EMOTION_DATABASE_URL",
)
TOO_MANY_CONNECTIONS = Cause(
    "too many connections",
    "the database server accepts no more connections: raise its max_connections, or run fewer "
    "workers",
)
STARTING = Cause("starting", "the database server is starting or stopping: wait, or start it")
CANNOT_OPEN = Cause(
    "cannot open",
    "the database file cannot be opened: check the path in EMOTION_DATABASE_URL, and that the "
    "service's user may write to the file and its folder",
)
CORRUPT = Cause("corrupt", "the file is not a database or is damaged: restore a backup")
DISK_ERROR = Cause(
    "disk error", "reading or writing the database failed: check the disk and its free space"
)
PRIVILEGE = Cause(
    "privilege",
    "the database user lacks a privilege: make it the owner of the database and its tables",
)
FILE_REPLACED = Cause(
    "file replaced",
    "the database file was removed or replaced while the service was running: restore the file, "
    "then restart the service",
)
NO_CONNECTION = Cause(
    "no free connection",
    "all database connections of the service are in use, which is a bug: please report it",
)
OTHER = Cause("other", "the database failed: read the driver's message")

# Prefixes of SQLite's result codes.
_SQLITE = {
    "SQLITE_FULL": DISK_FULL,
    "SQLITE_BUSY": LOCKED,
    "SQLITE_LOCKED": LOCKED,
    "SQLITE_PROTOCOL": LOCKED,
    "SQLITE_READONLY": READ_ONLY,
    "SQLITE_PERM": READ_ONLY,
    "SQLITE_CANTOPEN": CANNOT_OPEN,
    "SQLITE_CORRUPT": CORRUPT,
    "SQLITE_NOTADB": CORRUPT,
    "SQLITE_IOERR": DISK_ERROR,
    "SQLITE_INTERRUPT": TOO_SLOW,
}
# Prefixes of PostgreSQL's SQLSTATE codes. The first prefix that matches is used.
_SQLSTATES = {
    "28": PASSWORD,
    "3D000": NO_DATABASE,
    "42P01": NOT_MIGRATED,
    "42703": NOT_MIGRATED,
    "3F000": NOT_MIGRATED,
    "42501": PRIVILEGE,
    "53100": DISK_FULL,
    "53300": TOO_MANY_CONNECTIONS,
    "53": OTHER,
    "55P03": LOCKED,
    "40": LOCKED,
    "57014": TOO_SLOW,
    "57P": STARTING,
    "25006": READ_ONLY,
    "58": DISK_ERROR,
    "XX": OTHER,
    "08": UNREACHABLE,
}
# libpq reports failed connections without a code. The first match counts.
_TEXTS = {
    "did not answer in time": UNRESPONSIVE,
    "password": PASSWORD,
    "authentication failed": PASSWORD,
    "pg_hba.conf": PASSWORD,
    'role "': PASSWORD,
    'database "': NO_DATABASE,
    "too many clients": TOO_MANY_CONNECTIONS,
    "too many connections": TOO_MANY_CONNECTIONS,
    "connection slots": TOO_MANY_CONNECTIONS,
    "starting up": STARTING,
    "shutting down": STARTING,
    "administrator command": STARTING,
    "certificate": UNREACHABLE,
    "connect": UNREACHABLE,  # refused, failed, timed out, closed
    "resolve host": UNREACHABLE,
    "translate host": UNREACHABLE,
}


def explain(error: BaseException) -> Cause | None:
    """Return the cause of a driver's error, or None for an error in a statement or its values."""
    if isinstance(error, sqlite3.Error):
        return _explain_sqlite(error)
    if sqlstate := getattr(error, "sqlstate", None):
        return next((_SQLSTATES[key] for key in _SQLSTATES if sqlstate.startswith(key)), None)
    class_names = {class_.__name__ for class_ in type(error).__mro__}
    if not class_names & {"OperationalError", "InterfaceError"}:
        return None
    text = str(error)
    return next((cause for part, cause in _TEXTS.items() if part in text), OTHER)


def _explain_sqlite(error: sqlite3.Error) -> Cause | None:
    code = getattr(error, "sqlite_errorname", None) or ""
    for prefix, cause in _SQLITE.items():
        if code.startswith(prefix):
            return cause
    if str(error).startswith(("no such table", "no such column")) or "has no column" in str(error):
        return NOT_MIGRATED
    return OTHER if isinstance(error, sqlite3.OperationalError | sqlite3.InterfaceError) else None


def operator_message(cause: Cause, error: BaseException, password: str | None = None) -> str:
    """Return the advice and the driver's message, without SQL, values and the password."""
    message = getattr(getattr(error, "diag", None), "message_primary", None) or str(error)
    message = " ".join(message.partition("\nLINE ")[0].split())
    if password:
        message = message.replace(password, "***")
    if len(message) > MAX_MESSAGE_LENGTH:
        message = f"{message[:MAX_MESSAGE_LENGTH]}…"
    return f"{cause.advice} (the driver says: {message})"


class FaultLog:
    """Logs database failures.

    A new cause is logged at level ERROR. Further failures with this cause are counted, and their
    number is logged once a minute. The recovery is logged at level INFO. After a failed write, only
    a successful write counts as recovery, because reads still succeed on a full disk.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failing: set[bool] = set()  # True if writes fail, False if reads fail
        self._logged: dict[Cause, float] = {}
        self._quiet_until: dict[Cause, float] = {}
        self._suppressed: dict[Cause, int] = {}

    def record_failure(self, cause: Cause, message: str, *, write: bool) -> None:
        """Log a failure, or count it. `message` is the message for the operator."""
        now = time.monotonic()
        with self._lock:
            # NOT_MIGRATED counts as a failed write, because reads of the tables that exist succeed.
            self._failing.add(write or cause is NOT_MIGRATED)
            if now < self._quiet_until.get(cause, -math.inf):
                self._suppressed[cause] = self._suppressed.get(cause, 0) + 1
                return
            self._logged[cause] = now
            self._quiet_until[cause] = now + REPEAT_SECONDS
            suppressed = self._suppressed.pop(cause, 0)
        extra: dict[str, Any] = {"cause": cause.name, "failures": suppressed + 1}
        earlier = f"; {suppressed} more failures since the last message" if suppressed else ""
        log.error("%s%s", message, earlier, extra=extra)

    def record_success(self, *, write: bool) -> None:
        """Record that a transaction succeeded. The store calls this after each transaction."""
        if not self._failing:  # without the lock, because this is the usual case
            return
        with self._lock:
            recovered = {False, True} if write else {False}
            if not self._failing & recovered:
                return
            self._failing -= recovered
            if self._failing:
                return
            # If the same cause appears again soon, it is logged again without waiting for a minute.
            for cause, logged in self._logged.items():
                self._quiet_until[cause] = min(
                    self._quiet_until[cause], logged + REPEAT_SECONDS_AFTER_RECOVERY
                )
        log.info("the database works again")
