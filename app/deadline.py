"""Deadline: the time by which a request must have its response.

The API creates one for each request and passes it to the queue, the vision pipeline and the store.
Long work calls `check` between its steps and so stops soon after the deadline.
"""

import math
import time
from dataclasses import dataclass
from typing import Self

from app.errors import DeadlineExceeded

TOO_LATE = "the request was not answered in time: try again"


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in time. `until` is in seconds on the clock of `time.perf_counter`."""

    until: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """Return the deadline that is `seconds` from now."""
        return cls(time.perf_counter() + seconds)

    def remaining(self) -> float:
        """Return the remaining seconds: 0 or less after the deadline, infinity for NEVER."""
        return self.until - time.perf_counter()

    def check(self, seconds: float = 0.0) -> None:
        """Raise DeadlineExceeded when at most `seconds` remain.

        Before a step that cannot be interrupted, pass its expected duration as `seconds`.
        """
        if self.remaining() <= seconds:
            raise DeadlineExceeded(TOO_LATE)


NEVER = Deadline(math.inf)
