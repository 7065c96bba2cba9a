"""Limits failed API key checks, so that no client can force an unlimited number of checks."""

import threading
import time
from dataclasses import dataclass

from cachetools import TTLCache

from app.errors import TooManyRequests

MAX_WINDOWS = 10_000


@dataclass(slots=True)
class _Window:
    start: float
    failures: int = 0


class FailedAttempts:
    """Counts wrong API keys per client address, in windows of `seconds` from the first failure.

    An address is rejected after `limit` failures in a window. Failures are also counted per key id,
    from all addresses together. This second limit applies only to addresses with a failure in
    their own window. Otherwise anyone who knows the id of a key could lock out the owner of the
    key. The counter keeps the MAX_WINDOWS most recently used windows.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit, self._seconds = limit, seconds
        self._windows: TTLCache[tuple[str, str], _Window] = TTLCache(MAX_WINDOWS, seconds)
        self._lock = threading.Lock()

    def check(self, address: str, key_id: str | None) -> None:
        """Raise TooManyRequests when the address has reached a limit."""
        with self._lock:
            address_window = self._windows.get(("address", address))
            key_window = self._windows.get(("key", key_id)) if key_id else None
        if address_window is None:
            return
        for window in (address_window, key_window):
            if window and window.failures >= self._limit:
                seconds = max(1, round(window.start + self._seconds - time.monotonic()))
                raise TooManyRequests(
                    f"too many wrong keys: at most {self._limit} in {self._seconds:g} s are "
                    f"allowed, try again in {seconds} s",
                    retry_after=seconds,
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
