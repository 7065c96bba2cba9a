"""A PostgreSQL connection that does not wait longer than a request may take.

The server's own time limits (see connections.py) end a query and keep the connection. They do not
help when the server does not answer at all, or when many short queries add up. In these cases this
connection stops waiting and closes itself.
"""

import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

T = TypeVar("T")
GRACE_SECONDS = 0.5  # for the server to end a query by itself, and for ROLLBACK


class BoundedConnection(psycopg.Connection[Any]):
    """`until` returns the time, on the clock of time.perf_counter, at which waiting ends."""

    until: Callable[[], float] = staticmethod(lambda: math.inf)

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """Wait for the server. Raises OperationalError when it does not answer in time."""
        until = max(self.until(), time.perf_counter()) + GRACE_SECONDS
        return super().wait(self._bounded(gen, until), *args, **kwargs)

    def _bounded(self, gen: PQGen[T], until: float) -> PQGen[T]:
        # The driver sends 0 several times a second while the server sends nothing.
        try:
            asked = next(gen)
            while True:
                ready = yield asked
                if not ready and time.perf_counter() > until:
                    self.pgconn.finish()
                    raise psycopg.OperationalError("the server did not answer in time")
                asked = gen.send(ready)
        except StopIteration as done:
            result: T = done.value
            return result
