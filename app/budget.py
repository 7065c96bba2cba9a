"""Limits what jobs of different sizes use together, such as bytes of memory or pixels."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.deadline import TOO_LATE, Deadline
from app.errors import DeadlineExceeded


class Budget:
    """A limited amount, such as bytes of memory, that jobs of different sizes share."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._left = limit
        self._changed = threading.Condition()

    def take(self, amount: int, *, deadline: Deadline) -> int:
        """Wait until `amount` is free, and take it. More than `limit` counts as `limit`, so that
        such a job runs alone. Return the amount to `give` back.

        Raises DeadlineExceeded at the deadline.
        """
        amount = min(amount, self.limit)
        with self._changed:
            left = deadline.remaining()
            seconds = None if math.isinf(left) else max(0.0, left)
            if not self._changed.wait_for(lambda: self._left >= amount, timeout=seconds):
                raise DeadlineExceeded(TOO_LATE)
            self._left -= amount
        return amount

    def give(self, amount: int) -> None:
        """Return an amount that `take` returned."""
        with self._changed:
            self._left += amount
            self._changed.notify_all()

    @contextmanager
    def taken(self, amount: int, *, deadline: Deadline) -> Iterator[None]:
        """`take` and, afterwards, `give`."""
        amount = self.take(amount, deadline=deadline)
        try:
            yield
        finally:
            self.give(amount)
