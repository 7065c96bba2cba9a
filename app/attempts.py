"""Counts wrong API keys, so that no client can have any number of keys checked."""

import threading
import time
from dataclasses import dataclass

from cachetools import TTLCache

from app.errors import TooManyRequests

MOST_COUNTED = 10_000


@dataclass(slots=True)
class _Window:
    began: float
    failures: int = 0


class FailedAttempts:
    """Allows `most` wrong keys of each address in `seconds`, counted from the first one.

    Failures are also counted for each key id, from all addresses together. That second limit
    applies only to addresses that have failed themselves, so other people who know a key's id
    cannot lock out its owner. Only the MOST_COUNTED addresses and key ids used last are remembered.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self._windows: TTLCache[tuple[str, str], _Window] = TTLCache(MOST_COUNTED, seconds)
        self._lock = threading.Lock()

    def check(self, address: str, key_id: str | None) -> None:
        """Raise TooManyRequests when the address may not try another key now."""
        with self._lock:
            own = self._windows.get(("address", address))
            of_key = self._windows.get(("key", key_id)) if key_id else None
        if own is None:
            return
        for window in (own, of_key):
            if window and window.failures >= self._most:
                left = max(1, round(window.began + self._seconds - time.monotonic()))
                raise TooManyRequests(
                    f"too many wrong keys, at most {self._most} in {self._seconds:g} s: "
                    f"try again in {left} s",
                    retry_after=left,
                )

    def count(self, address: str, key_id: str | None) -> None:
        """Count a wrong key."""
        now = time.monotonic()
        with self._lock:
            for subject in [("address", address), *([("key", key_id)] if key_id else [])]:
                window = self._windows.get(subject)
                if window is None:
                    window = self._windows[subject] = _Window(now)
                window.failures += 1
