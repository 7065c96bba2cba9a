"""Bounded queue for CPU-heavy requests.

A worker process runs `concurrency` jobs at a time and admits `capacity` requests. A request beyond
that is rejected with `Busy` (503). A request that misses its deadline gets `DeadlineExceeded`
(503); work that has not started by then is cancelled.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from app.deadline import TOO_LATE, Deadline
from app.errors import Busy, DeadlineExceeded

T = TypeVar("T")


class WorkQueue:
    """Runs CPU-heavy work in `concurrency` threads that do nothing else.

    Requests wait for the database in other threads, so they occupy none of the work threads. Each
    work thread has its own Haar cascade with buffers, so `concurrency` also limits this memory. The
    threads start with the first jobs, which is after the worker process was forked.
    """

    def __init__(self, *, concurrency: int, capacity: int) -> None:
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="work")
        self._slots = threading.BoundedSemaphore(capacity)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold one of the `capacity` slots. Raises Busy immediately when all are in use."""
        if not self._slots.acquire(blocking=False):
            raise Busy("all slots for image requests are in use: try again soon")
        try:
            yield
        finally:
            self._slots.release()

    def run(self, work: Callable[[], T], *, deadline: Deadline) -> T:
        """Run `work` in one of the threads. Return its result or raise its exception.

        Raises DeadlineExceeded when the work has not ended by the deadline. Running work is not
        interrupted: it must check the same deadline itself, and it must have no side effects.
        """
        deadline.check()
        future = self._threads.submit(work)
        done, _ = wait([future], timeout=deadline.remaining())
        # `cancel` fails if the work is running or ended just after the wait. In the second case,
        # the result is returned.
        if not done and (future.cancel() or not future.done()):
            raise DeadlineExceeded(TOO_LATE)
        return future.result()
