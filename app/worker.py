"""gunicorn's worker with threads, which no client can hold for ever and no picture can swell."""

import ctypes
import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

GRACE_SECONDS = 5.0
TRIM_SECONDS = 10.0
ARENAS = 2
_M_ARENA_MAX = -8  # of mallopt, malloc.h


class Worker(ThreadWorker):
    """A thread reads a request, waits for its turn and sends the answer, as slowly as the client
    does. After `seconds` of one request nothing more is read: a request that is not whole is
    refused, and one that is has its own time limit. GRACE_SECONDS later, nothing more is sent
    either: the connection is gone and the thread is free.

    That ends every way to be slow: headers, body, chunks, and not reading the answer.

    glibc keeps what large pictures took in an arena for each thread, a gigabyte after some hundred
    pictures. Here threads share two arenas, and what is free is given back every TRIM_SECONDS:
    limits on what glibc keeps would do that at each picture and cost a tenth of its time.
    """

    seconds = 30.0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._since: dict[TConn, float] = {}
        self._trimmed = 0.0

    def init_process(self) -> None:
        _c("mallopt", _M_ARENA_MAX, ARENAS)
        super().init_process()

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
        if now - self._trimmed > TRIM_SECONDS:
            _c("malloc_trim", 0)
            self._trimmed = now
        # A copy, which is made at one go: threads begin and end requests meanwhile.
        for conn, since in self._since.copy().items():
            if now - since > self.seconds + GRACE_SECONDS:
                _shut(conn, socket.SHUT_RDWR)
            elif now - since > self.seconds:
                _shut(conn, socket.SHUT_RD)


def _c(name: str, *arguments: int) -> None:
    """Call the C library, where it has that."""
    if function := getattr(ctypes.CDLL(None), name, None):
        function(*arguments)


def _shut(conn: TConn, how: int) -> None:
    with suppress(OSError):  # it is gone already
        conn.sock.shutdown(how)
