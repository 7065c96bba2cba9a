"""Removes erased rows from SQLite's write-ahead log.

The log keeps the old content of erased pages until it is copied into the database file, where
SQLite overwrites erased data, and emptied. The service tries that right after an erasure. It fails
while another connection reads an older state; then a thread of this process tries again every
second. A process may end before it succeeds, so each worker also empties the log at its start and
every IDLE_SECONDS, and so does `retention run`.
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

# How long a try waits for readers. Writers must wait meanwhile, so it is short.
FIRST_SECONDS = 0.25
AGAIN_SECONDS = 0.05
PAUSE_SECONDS = 1.0  # between two tries of an erasure of this process
IDLE_SECONDS = 30.0  # between two tries for erasures of processes that have ended


class WalCleaner:
    """Empties the write-ahead log of one SQLite database; does nothing for PostgreSQL.

    `pending` is the number of erasures of this process that may still be in the log; `on_change` is
    called with it whenever it changes.
    """

    def __init__(self, engine: Engine) -> None:
        self._erased = 0  # erasures of this process
        self._removed = 0  # of these, erasures whose rows are no longer in the log
        self.on_change: Callable[[int], None] = lambda _pending: None
        self._engine = engine
        self._lock = threading.Lock()
        self._emptying = threading.Lock()  # SQLite refuses two checkpoints at the same time
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    @property
    def pending(self) -> int:
        return self._erased - self._removed

    def start(self) -> None:
        """Start the background thread, which also removes what ended processes have left. Call it
        in each worker, after the fork."""
        with self._lock:
            if self._thread is None and self._engine.dialect.name == "sqlite":
                self._thread = threading.Thread(target=self._retry, name="wal", daemon=True)
                self._thread.start()

    def clean(self) -> bool:
        """Empty the log after an erasure was committed, now or else in the background. Return
        whether it is empty now. Call it outside of transactions. Raises nothing."""
        if self._engine.dialect.name != "sqlite":
            return True
        with self._lock:
            self._erased += 1
        if self._empty(min(FIRST_SECONDS, current_deadline().remaining())):
            return True
        self._report()
        log.warning(
            "erased rows stay in the write-ahead log while a connection reads an older state"
        )
        self.start()
        self._wake.set()
        return False

    def _retry(self) -> None:
        while True:
            were_pending = self.pending > 0
            if self._empty(AGAIN_SECONDS) and were_pending:
                log.info("erased rows are no longer in the write-ahead log")
            if self.pending:
                threading.Event().wait(PAUSE_SECONDS)
            else:
                self._wake.wait(IDLE_SECONDS)
            self._wake.clear()

    def _empty(self, lock_seconds: float) -> bool:
        """Try to empty the log. Return whether all rows erased before this call are out of it."""
        erased = self._erased
        with self._emptying:
            empty = not self._size() or self._checkpoint(lock_seconds)
        if empty:
            with self._lock:
                self._removed = max(self._removed, erased)
            self._report()
        return empty

    def _report(self) -> None:
        try:
            self.on_change(self.pending)
        except Exception as error:  # such as a metrics file on a full disk; the thread must go on
            log.warning("the number of pending erasures was not reported: %s", error)

    def _checkpoint(self, lock_seconds: float) -> bool:
        try:
            # Not through SQLAlchemy, which would begin a transaction.
            connection = self._engine.raw_connection()
            try:
                set_lock_timeout(connection.driver_connection, lock_seconds)
                checkpoint = connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
                (busy, *_) = checkpoint.fetchone()
            finally:
                connection.close()
        except (sqlite3.Error, SQLAlchemyError, EmotionError, OSError) as error:
            log.warning("the write-ahead log could not be emptied: %s", error)
            return False
        return not busy

    def _size(self) -> int:
        """Bytes of the log; 0 if it is empty or does not exist."""
        try:
            return Path(f"{self._engine.url.database}-wal").stat().st_size
        except OSError:
            return 0
