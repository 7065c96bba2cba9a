"""Deadline: the time by which a request must be answered.

The API makes one for each request and passes it down to everything that works for the request:
the queue, the vision pipeline and the store. Long work calls `check` between its steps, so that it
stops soon after its result is no longer needed.
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
        """The deadline that is `seconds` from now."""
        return cls(time.perf_counter() + seconds)

    def remaining(self) -> float:
        """Seconds that are left: 0 or less when the deadline has passed, infinite for NEVER."""
        return self.until - time.perf_counter()

    def check(self, seconds: float = 0.0) -> None:
        """Raise DeadlineExceeded when no more than `seconds` are left.

        Before work that cannot be stopped, `seconds` is the time that it takes.
        """
        if self.remaining() <= seconds:
            raise DeadlineExceeded(TOO_LATE)


NEVER = Deadline(math.inf)
