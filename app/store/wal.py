"""Removes erased rows from SQLite's write-ahead log.

The log contains the rows of erased images until a checkpoint copies it into the database file and
empties it. SQLite overwrites the erased rows in the file. The service runs a checkpoint after each
erasure. The checkpoint fails while another connection reads an older state. Then a thread of this
process tries again every second. A process may end before a checkpoint succeeds, so each worker
also empties the log at its start and every IDLE_SECONDS, and `retention run` empties it too.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from app.errors import EmotionError
from app.store.connections import current_deadline, set_lock_timeout

log = logging.getLogger(__name__)

# The time that a checkpoint waits for readers. Writers wait for it, so it is short.
FIRST_LOCK_SECONDS = 0.25
RETRY_LOCK_SECONDS = 0.05
PAUSE_SECONDS = 1.0  # between two attempts after an erasure of this process
IDLE_SECONDS = 30.0  # between two attempts for the erasures of ended processes


class WalCleaner:
    """Empties the write-ahead log of a SQLite database. Does nothing for PostgreSQL.

    The log may still contain the rows of `pending` erasures of this process.
    `on_change` is called with the new value when it changes.
    """

    def __init__(self, engine: Engine) -> None:
        self._erased = 0  # erasures of this process
        self._removed = 0  # erasures of this process whose rows are no longer in the log
        self.on_change: Callable[[int], None] = lambda _pending: None
        self._engine = engine
        self._lock = threading.Lock()
        self._checkpoint_lock = threading.Lock()  # SQLite allows one checkpoint at a time
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    @property
    def pending(self) -> int:
        return self._erased - self._removed

    def start(self) -> None:
        """Start the background thread, which also handles the erasures of ended processes.

        Call it in each worker after the fork.
        """
        with self._lock:
            if self._thread is None and self._engine.dialect.name == "sqlite":
                self._thread = threading.Thread(target=self._retry, name="wal", daemon=True)
                self._thread.start()

    def clean(self) -> bool:
        """Empty the log after a committed erasure, and return whether it is empty now.

        If this fails, the background thread tries again. Call it outside of transactions. Raises
        nothing.
        """
        if self._engine.dialect.name != "sqlite":
            return True
        with self._lock:
            self._erased += 1
        if self._empty(min(FIRST_LOCK_SECONDS, current_deadline().remaining())):
            return True
        self._report()
        log.warning(
            "the write-ahead log contains erased rows while a connection reads an older state: "
            "trying again every second"
        )
        self.start()
        self._wake.set()
        return False

    def _retry(self) -> None:
        while True:
            had_pending = self.pending > 0
            if self._empty(RETRY_LOCK_SECONDS) and had_pending:
                log.info("erased rows are no longer in the write-ahead log")
            if self.pending:
                threading.Event().wait(PAUSE_SECONDS)
            else:
                self._wake.wait(IDLE_SECONDS)
            self._wake.clear()

    def _empty(self, lock_seconds: float) -> bool:
        """Try to empty the log. Return whether it no longer has rows erased before the call."""
        erased = self._erased
        with self._checkpoint_lock:
            is_empty = not self._size() or self._checkpoint(lock_seconds)
        if is_empty:
            with self._lock:
                self._removed = max(self._removed, erased)
            self._report()
        return is_empty

    def _report(self) -> None:
        try:
            self.on_change(self.pending)
        except Exception as error:  # for example a full disk; the thread must continue
            log.warning("cannot report the number of pending erasures: %s", error)

    def _checkpoint(self, lock_seconds: float) -> bool:
        try:
            # Without SQLAlchemy, which would begin a transaction.
            connection = self._engine.raw_connection()
            try:
                set_lock_timeout(connection.driver_connection, lock_seconds)
                checkpoint = connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
                (busy, *_) = checkpoint.fetchone()
            finally:
                connection.close()
        except (sqlite3.Error, SQLAlchemyError, EmotionError, OSError) as error:
            log.warning("cannot empty the write-ahead log: %s", error)
            return False
        return not busy

    def _size(self) -> int:
        """Return the size of the log in bytes, or 0 if it does not exist."""
        try:
            return Path(f"{self._engine.url.database}-wal").stat().st_size
        except OSError:
            return 0
