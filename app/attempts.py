"""Failed attempts to show a key, counted so that nobody can have keys checked without end."""

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
    """At most `most` failed attempts of an address in `seconds`, which begin with the first one.

    Failures are also counted for each key id, whatever address they come from. That limit applies
    only to addresses that have failed themselves, so strangers who know a key's id cannot lock out
    its owner. Of addresses and key ids, the MOST_COUNTED used last are counted.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self._windows: TTLCache[tuple[str, str], _Window] = TTLCache(MOST_COUNTED, seconds)
        self._lock = threading.Lock()

    def check(self, address: str, key_id: str | None) -> None:
        """Raises TooManyRequests where another attempt is not allowed now."""
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
        """Count an attempt that failed."""
        now = time.monotonic()
        with self._lock:
            for subject in [("address", address), *([("key", key_id)] if key_id else [])]:
                window = self._windows.get(subject)
                if window is None:
                    window = self._windows[subject] = _Window(now)
                window.failures += 1
