"""gunicorn's worker with threads, which no client can hold for ever."""

import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

GRACE_SECONDS = 5.0


class Worker(ThreadWorker):
    """A thread reads a request, waits for its turn and sends the answer, as slowly as the client
    does. After `seconds` of one request nothing more is read: a request that is not whole is
    refused, and one that is has its own time limit. GRACE_SECONDS later, nothing more is sent
    either: the connection is gone and the thread is free.

    That ends every way to be slow: headers, body, chunks, and not reading the answer.
    """

    seconds = 30.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._since: dict[TConn, float] = {}

    def handle(self, conn: TConn) -> Any:
        self._since[conn] = time.monotonic()
        try:
            return super().handle(conn)
        finally:
            del self._since[conn]

    def notify(self) -> None:
        """Called by the loop at least every second, also while the worker is stopping."""
        super().notify()
        now = time.monotonic()
        # A copy, which is made at one go: threads begin and end requests meanwhile.
        for conn, since in self._since.copy().items():
            if now - since > self.seconds + GRACE_SECONDS:
                _shut(conn, socket.SHUT_RDWR)
            elif now - since > self.seconds:
                _shut(conn, socket.SHUT_RD)


def _shut(conn: TConn, how: int) -> None:
    with suppress(OSError):  # it is gone already
        conn.sock.shutdown(how)
