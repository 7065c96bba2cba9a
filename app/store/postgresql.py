"""A PostgreSQL connection that waits no longer than the deadline of a request.

The time limits of the server (see connections.py) cancel a query and keep the connection. They do
not help if the server does not respond, or if many short queries add up. In these cases the client
stops waiting and closes the connection.
"""

import math
import time
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

T = TypeVar("T")
GRACE_SECONDS = 0.5  # time for the server to cancel a query, and for ROLLBACK


class BoundedConnection(psycopg.Connection[Any]):
    """A connection with a deadline.

    `until` returns the deadline on the clock of time.perf_counter.
    """

    until: Callable[[], float] = staticmethod(lambda: math.inf)

    def wait(self, gen: PQGen[T], *args: Any, **kwargs: Any) -> T:
        """Wait for the server. Raises OperationalError if it does not respond in time."""
        until = max(self.until(), time.perf_counter()) + GRACE_SECONDS
        return super().wait(self._bounded(gen, until), *args, **kwargs)

    def _bounded(self, gen: PQGen[T], until: float) -> PQGen[T]:
        # The driver sends 0 into the generator several times a second while it waits.
        try:
            request = next(gen)
            while True:
                ready = yield request
                if not ready and time.perf_counter() > until:
                    self.pgconn.finish()
                    raise psycopg.OperationalError("the server did not answer in time")
                request = gen.send(ready)
        except StopIteration as done:
            result: T = done.value
            return result
