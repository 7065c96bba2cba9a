"""Removing what was erased from SQLite's write-ahead log.

The log keeps erased pages as they were before, until it is copied into the database file (where
SQLite overwrites what is erased) and emptied. That is tried right after an erasure. It fails while
another connection reads an older state: then a thread of this process tries every second. A process
may end before that, so every worker also tries at its start and now and then, and `retention run`
does.
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

# How long readers are waited for. Nobody can write meanwhile, so it is short.
FIRST_SECONDS = 0.25
AGAIN_SECONDS = 0.05
PAUSE_SECONDS = 1.0  # between two tries of an erasure of this process
IDLE_SECONDS = 30.0  # the same for those of processes that have ended


class WalCleaner:
    """Empties the write-ahead log of one SQLite database; does nothing for PostgreSQL.

    `pending` is the number of erasures of this process that may still be in the log; `on_change` is
    called with it whenever it changes.
    """

    def __init__(self, engine: Engine) -> None:
        self._erased = 0  # how many erasures there were
        self._removed = 0  # how many of these are no longer in the log
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
        """Begin the background thread, which also removes what ended processes have left. Call it
        in each worker, after the fork."""
        with self._lock:
            if self._thread is None and self._engine.dialect.name == "sqlite":
                self._thread = threading.Thread(target=self._retry, name="wal", daemon=True)
                self._thread.start()

    def clean(self) -> bool:
        """Empty the log after an erasure was committed, now or in the background; whether it is
        empty now. Call it outside of transactions. Raises nothing."""
        if self._engine.dialect.name != "sqlite":
            return True
        with self._lock:
            self._erased += 1
        if self._empty(min(FIRST_SECONDS, current_deadline().left())):
            return True
        self.on_change(self.pending)
        log.warning("erased rows are in the write-ahead log until nobody reads an older state")
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
        """Whether everything that was erased before this call is out of the log."""
        erased = self._erased
        with self._emptying:
            empty = not self._size() or self._checkpoint(lock_seconds)
        if empty:
            with self._lock:
                self._removed = max(self._removed, erased)
            self.on_change(self.pending)
        return empty

    def _checkpoint(self, lock_seconds: float) -> bool:
        try:
            # Past SQLAlchemy, which would begin a transaction.
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
        """Bytes of the log: 0 where it is empty or gone."""
        try:
            return Path(f"{self._engine.url.database}-wal").stat().st_size
        except OSError:
            return 0
