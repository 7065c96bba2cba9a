"""Who is worked for, who waits and who is sent away: a worker takes on what it can do in time."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from app.errors import Busy, TookTooLong

T = TypeVar("T")
TOO_LATE = "it was not done in time: try again"


class Turns:
    """`places` requests at a time may have work here, of which that of `at_once` is being done and
    the others' waits.

    Threads of its own do it, so requests that wait for their client, for their turn or for the
    database keep nobody from working, and what a thread holds (a cascade and its buffers) is held
    `at_once` times. They start when they are first needed, after the fork.
    """

    def __init__(self, *, at_once: int, places: int) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="turn")
        self._places = threading.BoundedSemaphore(places)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Raises Busy, at once, where all places are taken."""
        if not self._places.acquire(blocking=False):
            raise Busy("as many pictures as it can take are being worked at: try again soon")
        try:
            yield
        finally:
            self._places.release()

    def do(self, work: Callable[[], T], *, until: float) -> T:
        """What `work` returns or raises, if that is by time.perf_counter() `until`.

        Raises TookTooLong. Then work that still waited is never done. Work that has begun has to
        stop by itself, at the same deadline; until then it must change nothing.
        """
        left = until - time.perf_counter()
        if left <= 0:
            raise TookTooLong(TOO_LATE)
        future = self._threads.submit(work)
        try:
            return future.result(left)
        except TimeoutError:
            if future.done():
                raise  # its own
            future.cancel()
            raise TookTooLong(TOO_LATE) from None
