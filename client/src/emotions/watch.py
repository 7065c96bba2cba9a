"""Send the images of a folder as they appear, each one once, across restarts of both sides.

The folder is scanned again and again, which also works on network drives, where the system does not
report changes. An image is sent when two scans find it unchanged, so half-written files wait.

Before an image is sent, its name and its Idempotency-Key are recorded. After an interruption, the
image is sent again with the same key, and the service stores it once, as long as it remembers keys
(a day). A file is identified by its name and content: new content makes it another image, a new
time of change does not.
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
    BadPicture,
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
# Errors after which an image is not sent again. After other errors it is sent again at the next
# scan. After errors that the image itself may cause, the pauses grow, so that other images go on.
HOPELESS = (BadPicture, TooLarge, InvalidRequest)
PERHAPS_ITS_OWN = (ServiceError, TimedOut, DeadlineExceeded)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 600.0  # seconds
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
"""Size in bytes and time of the last change in nanoseconds."""


@dataclass(frozen=True)
class Event:
    """The result for an image: sent (`analysis` is None if an earlier run sent it), given up, or,
    with an error and not given up, to be sent again."""

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
    """A folder, and the file that records what was sent.

    Raises sqlite3.Error if that file has another format, cannot be written or is used by another
    watcher.
    """

    def __init__(self, folder: Path, state: Path | None = None) -> None:
        self.folder = folder
        self._state = sqlite3.connect(state or folder / STATE_NAME, isolation_level=None, timeout=0)
        # Two watchers of one folder would send every image twice. The second one gets an error.
        self._state.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._state.execute("PRAGMA journal_mode = WAL")
        self._state.execute(_TABLE)
        self._last: dict[str, Stamp] = {}
        # By name: the time of the next try, and the pause before it, in seconds.
        self._later: dict[str, tuple[float, float]] = {}
        # Files that are not read again while they stay unchanged.
        self._known: dict[str, Stamp] = {
            os.fsdecode(name): (size, mtime)
            for name, size, mtime in self._state.execute(
                "SELECT name, size, mtime_ns FROM pictures WHERE state != ?", (PENDING,)
            )
        }

    def close(self) -> None:
        self._state.close()

    def count(self, state: str) -> int:
        """The number of images that are `sent`, `failed` or `pending`."""
        query = "SELECT count(*) FROM pictures WHERE state = ?"
        return int(self._state.execute(query, (state,)).fetchone()[0])

    def deferred(self) -> int:
        """The number of images of the last scan that are left for later."""
        return sum(name in self._last for name in self._later)

    def look(self, client: EmotionClient, *, workers: int = 4, **options: Any) -> Iterator[Event]:
        """Scan once and send the complete new images. After an error that may pass, such as a
        service that is away, this scan sends no further image, and the next scan tries again."""
        # Keys must be on the disk before anything is sent. Results need not be: an image without a
        # result is sent again with the same key.
        self._state.execute("PRAGMA synchronous = FULL")
        with self._state:  # one transaction, because there may be thousands at the start
            self._state.execute("BEGIN")
            jobs = [job for name in self._settled() if (job := self._note(name))]
        self._state.execute("PRAGMA synchronous = NORMAL")

        trouble = threading.Event()

        def send(job: _Job) -> Event | None:
            if trouble.is_set():
                return None
            event = self._send(client, job, options)
            if event is not None and event.error is not None and not event.given_up:
                trouble.set()
            return event

        with ThreadPoolExecutor(workers) as pool:
            try:
                for job, event in zip(jobs, pool.map(send, jobs), strict=True):
                    if event is not None:
                        self._write_down(job, event)
                        yield event
            finally:
                trouble.set()  # a caller that stops waits for the current requests only

    def _settled(self) -> list[str]:
        """Names of images that are unchanged since the last scan, not done and not left for later,
        oldest first."""
        now = dict(_stamps(self.folder, self.folder))
        settled = [
            name
            for name, stamp in now.items()
            if stamp == self._last.get(name)
            and stamp != self._known.get(name)
            and self._later.get(name, (0.0,))[0] <= time.monotonic()
        ]
        self._last = now
        return sorted(settled, key=lambda name: (now[name][1], name))

    def _note(self, name: str) -> _Job | None:
        """Record that this image is to be sent. None if it was sent, or is gone."""
        size, mtime = self._last[name]
        try:
            sha256 = _sha256(self.folder / name)
        except OSError:
            return None  # gone, or not readable yet: the next scan tries again
        row = self._state.execute(
            "SELECT key, state FROM pictures WHERE name = ? AND sha256 = ?",
            (os.fsencode(name), sha256),
        ).fetchone()
        if row is not None and row[1] != PENDING:
            self._known[name] = (size, mtime)  # a new time of change, the same content
            return None
        key = row[0] if row else uuid.uuid4().hex
        if row is None:
            self._state.execute(
                "INSERT INTO pictures VALUES (?, ?, ?, ?, ?, ?)",
                (os.fsencode(name), sha256, size, mtime, key, PENDING),
            )
        return _Job(name, sha256, key)

    def _send(self, client: EmotionClient, job: _Job, options: dict[str, Any]) -> Event | None:
        """Send an image. None if it is no longer the recorded one. Its key stays, because it may
        have been sent before."""
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
            return Event(job.name)  # it was stored when it was sent with other options
        except EmotionError as error:
            is_option = isinstance(error, InvalidRequest) and error.concerns_every_image
            is_hopeless = isinstance(error, HOPELESS) and not is_option
            return Event(job.name, error=error, given_up=is_hopeless)
        return Event(job.name, analysis=analysis)

    def _write_down(self, job: _Job, event: Event) -> None:
        if event.error is not None and not event.given_up:
            if isinstance(event.error, PERHAPS_ITS_OWN):
                _, last = self._later.get(job.name, (0.0, FIRST_PAUSE / 2))
                pause = min(2 * last, LONGEST_PAUSE)
                self._later[job.name] = time.monotonic() + pause, pause
            return
        self._later.pop(job.name, None)
        self._state.execute(
            "UPDATE pictures SET state = ? WHERE name = ? AND sha256 = ?",
            (FAILED if event.given_up else SENT, os.fsencode(job.name), job.sha256),
        )
        self._known[job.name] = self._last[job.name]


def _stamps(folder: Path, root: Path) -> Iterator[tuple[str, Stamp]]:
    """Images below a folder, by their names relative to `root`, without hidden ones."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return  # gone
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _stamps(Path(entry.path), root)
            elif Path(entry.name).suffix.lower() in SUFFIXES and entry.is_file():
                about = entry.stat()
                yield str(Path(entry.path).relative_to(root)), (about.st_size, about.st_mtime_ns)
        except OSError:
            continue


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
