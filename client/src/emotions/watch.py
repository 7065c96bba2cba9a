"""Sends new images of a folder exactly once, across restarts of the client and the service.

The folder is scanned periodically, because network drives do not report changes. An image is sent
when two scans find it unchanged, so partly written files are skipped.

Before an image is sent, its name and its Idempotency-Key are recorded in a state file. After an
interruption, the image is sent again with the same key, and the service stores it once. The service
remembers keys for a day. A file is identified by its name and content: a file with new content is a
new image, but a file with a new modification time is not.
"""

import hashlib
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotions.client import EmotionClient
from emotions.errors import (
    BadImage,
    Conflict,
    DeadlineExceeded,
    EmotionError,
    InvalidRequest,
    ServiceError,
    TimedOut,
    TooLarge,
)
from emotions.sources import SUFFIXES, sendable_name
from emotions.types import Analysis

STATE_NAME = ".emotions-watch.sqlite"
# A retry cannot fix these errors. After other errors, the next scan sends the image again.
PERMANENT_ERRORS = (BadImage, TooLarge, InvalidRequest)
# The image may cause these errors, so it is retried with backoff and does not block other images.
IMAGE_SPECIFIC_ERRORS = (ServiceError, TimedOut, DeadlineExceeded)
FIRST_PAUSE, MAX_PAUSE = 1.0, 600.0  # seconds
PENDING, SENT, FAILED = "pending", "sent", "failed"

_TABLE = """
CREATE TABLE IF NOT EXISTS pictures (
    name BLOB NOT NULL, sha256 TEXT NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    key TEXT NOT NULL, state TEXT NOT NULL,
    PRIMARY KEY (name, sha256)
)
"""

Stamp = tuple[int, int]
"""Size in bytes and modification time in nanoseconds."""


@dataclass(frozen=True)
class Event:
    """The result of an attempt to send an image.

    Without an `error`, the image was sent; `analysis` is None if an earlier run already sent it.
    With an `error`, the image will be sent again unless it was `given_up`.
    """

    name: str
    analysis: Analysis | None = None
    error: EmotionError | None = None
    given_up: bool = False


@dataclass(frozen=True)
class _Job:
    name: str
    sha256: str
    key: str


class Watch:
    """A watched folder and its state file.

    Raises sqlite3.Error if the state file is invalid, read-only or locked by another watcher.
    """

    def __init__(self, folder: Path, state: Path | None = None) -> None:
        self.folder = folder
        self._state = sqlite3.connect(state or folder / STATE_NAME, isolation_level=None, timeout=0)
        # Lock the file: two watchers of one folder would send every image twice.
        self._state.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._state.execute("PRAGMA journal_mode = WAL")
        self._state.execute(_TABLE)
        self._last_scan: dict[str, Stamp] = {}
        # Name to (time of the next attempt, pause before it), in seconds.
        self._postponed: dict[str, tuple[float, float]] = {}
        # Finished files. They are not read again while they are unchanged.
        self._finished: dict[str, Stamp] = {
            os.fsdecode(name): (size, mtime)
            for name, size, mtime in self._state.execute(
                "SELECT name, size, mtime_ns FROM pictures WHERE state != ?", (PENDING,)
            )
        }

    def close(self) -> None:
        self._state.close()

    def count(self, state: str) -> int:
        """Return the number of images in a state: SENT, FAILED or PENDING."""
        query = "SELECT count(*) FROM pictures WHERE state = ?"
        return int(self._state.execute(query, (state,)).fetchone()[0])

    def postponed(self) -> int:
        """Return the number of images of the last scan that wait for a retry."""
        return sum(name in self._last_scan for name in self._postponed)

    def scan(self, client: EmotionClient, *, workers: int = 4, **options: Any) -> Iterator[Event]:
        """Scan the folder once and send the complete new images.

        After a transient error, for example an unreachable service, this scan sends no further
        image, and the next scan tries again.
        """
        # Keys must be durable before an image is sent. Results may be lost: the next run then sends
        # the image again with the same key.
        self._state.execute("PRAGMA synchronous = FULL")
        with self._state:  # one transaction, because the first scan may find thousands
            self._state.execute("BEGIN")
            jobs = [job for name in self._unchanged() if (job := self._record_pending(name))]
        self._state.execute("PRAGMA synchronous = NORMAL")

        stopped = threading.Event()

        def send(job: _Job) -> Event | None:
            if stopped.is_set():
                return None
            event = self._send(client, job, options)
            if event is not None and event.error is not None and not event.given_up:
                stopped.set()
            return event

        with ThreadPoolExecutor(workers) as pool:
            try:
                for job, event in zip(jobs, pool.map(send, jobs), strict=True):
                    if event is not None:
                        self._record_result(job, event)
                        yield event
            finally:
                stopped.set()  # a caller that stops iterating waits for current requests only

    def _unchanged(self) -> list[str]:
        """Scan the folder and return the names of images that are unchanged since the last scan,
        unfinished and due, oldest first."""
        stamps = dict(_stamps(self.folder, self.folder))
        unchanged = [
            name
            for name, stamp in stamps.items()
            if stamp == self._last_scan.get(name)
            and stamp != self._finished.get(name)
            and self._postponed.get(name, (0.0,))[0] <= time.monotonic()
        ]
        self._last_scan = stamps
        return sorted(unchanged, key=lambda name: (stamps[name][1], name))

    def _record_pending(self, name: str) -> _Job | None:
        """Record an image before it is sent. Returns None if it is finished or was removed."""
        size, mtime = self._last_scan[name]
        try:
            sha256 = _sha256(self.folder / name)
        except OSError:
            return None  # removed or not readable yet: the next scan tries again
        row = self._state.execute(
            "SELECT key, state FROM pictures WHERE name = ? AND sha256 = ?",
            (os.fsencode(name), sha256),
        ).fetchone()
        if row is not None and row[1] != PENDING:
            self._finished[name] = (size, mtime)  # a new modification time, the same content
            return None
        key = row[0] if row else uuid.uuid4().hex
        if row is None:
            self._state.execute(
                "INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?)",
                (os.fsencode(name), sha256, size, mtime, key, PENDING),
            )
        return _Job(name, sha256, key)

    def _send(self, client: EmotionClient, job: _Job, options: dict[str, Any]) -> Event | None:
        """Send an image. Returns None if the file changed since it was recorded. The key of the old
        content remains recorded, because an earlier run may have sent that content."""
        try:
            data = (self.folder / job.name).read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() != job.sha256:
            return None
        try:
            analysis = client.analyse(
                data, file_name=sendable_name(job.name), idempotency_key=job.key, **options
            )
        except Conflict:
            return Event(job.name)  # an earlier run already sent it with other options
        except EmotionError as error:
            is_option = isinstance(error, InvalidRequest) and error.concerns_every_image
            is_permanent = isinstance(error, PERMANENT_ERRORS) and not is_option
            return Event(job.name, error=error, given_up=is_permanent)
        return Event(job.name, analysis=analysis)

    def _record_result(self, job: _Job, event: Event) -> None:
        if event.error is not None and not event.given_up:
            if isinstance(event.error, IMAGE_SPECIFIC_ERRORS):
                _, last_pause = self._postponed.get(job.name, (0.0, FIRST_PAUSE / 2))
                pause = min(2 * last_pause, MAX_PAUSE)
                self._postponed[job.name] = time.monotonic() + pause, pause
            return
        self._postponed.pop(job.name, None)
        self._state.execute(
            "UPDATE pictures SET state = ? WHERE name = ? AND sha256 = ?",
            (FAILED if event.given_up else SENT, os.fsencode(job.name), job.sha256),
        )
        self._finished[job.name] = self._last_scan[job.name]


def _stamps(folder: Path, root: Path) -> Iterator[tuple[str, Stamp]]:
    """Yield the images below a folder, with names relative to `root`. Hidden ones are skipped."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return  # removed
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _stamps(Path(entry.path), root)
            elif Path(entry.name).suffix.lower() in SUFFIXES and entry.is_file():
                status = entry.stat()
                yield str(Path(entry.path).relative_to(root)), (status.st_size, status.st_mtime_ns)
        except OSError:
            continue


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
