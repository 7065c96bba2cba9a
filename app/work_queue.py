"""Bounded queue for CPU-heavy requests.

A worker process runs `concurrency` jobs at a time and lets `capacity` requests in. A request beyond
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
    """Runs the work in `concurrency` threads of its own.

    A request that waits for the database therefore blocks no work, and there are no more than
    `concurrency` cascades with their buffers, one for each thread. The threads start when they are
    first needed, after the fork.
    """

    def __init__(self, *, concurrency: int, capacity: int) -> None:
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="work")
        self._slots = threading.BoundedSemaphore(capacity)

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold one of the `capacity` slots. Raises Busy at once when all are taken."""
        if not self._slots.acquire(blocking=False):
            raise Busy("the service works on as many images as it can take: try again soon")
        try:
            yield
        finally:
            self._slots.release()

    def run(self, work: Callable[[], T], *, deadline: Deadline) -> T:
        """Return or raise what `work` returns or raises, if it ends by the deadline.

        Raises DeadlineExceeded. Work that has started is not stopped here: it must check the same
        deadline itself, and it must have no side effects.
        """
        deadline.check()
        future = self._threads.submit(work)
        done, _ = wait([future], timeout=deadline.remaining())
        # `cancel` fails for work that runs and for work that ended just after the wait.
        if not done and (future.cancel() or not future.done()):
            raise DeadlineExceeded(TOO_LATE)
        return future.result()
