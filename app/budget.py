"""Shares a limited amount of a resource, such as bytes or pixels, between concurrent jobs."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.deadline import TOO_LATE, Deadline
from app.errors import DeadlineExceeded


class Budget:
    """A weighted semaphore: the sum of the reserved amounts is at most `limit`."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free = limit
        self._changed = threading.Condition()

    def acquire(self, amount: int, *, deadline: Deadline) -> int:
        """Wait until `amount` is free, and reserve it. Return the amount to `release`.

        An amount above `limit` is reduced to `limit`, so that the job runs alone. Raises
        DeadlineExceeded.
        """
        amount = min(amount, self.limit)
        remaining = deadline.remaining()
        timeout = None if math.isinf(remaining) else max(0.0, remaining)
        with self._changed:
            if not self._changed.wait_for(lambda: self._free >= amount, timeout=timeout):
                raise DeadlineExceeded(TOO_LATE)
            self._free -= amount
        return amount

    def release(self, amount: int) -> None:
        """Free an amount that `acquire` returned."""
        with self._changed:
            self._free += amount
            self._changed.notify_all()

    @contextmanager
    def reserve(self, amount: int, *, deadline: Deadline) -> Iterator[None]:
        """Hold `amount` within a `with` block. Raises DeadlineExceeded."""
        amount = self.acquire(amount, deadline=deadline)
        try:
            yield
        finally:
            self.release(amount)
