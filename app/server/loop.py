"""The event loop of a worker: accepts connections and waits until one of them is ready."""

import errno
import selectors
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from app.server.connection import Connection, State
from app.server.log import KindsOnly, log_fault
from app.server.refusals import Refusal
from app.server.system import enough_files, limit_kept_memory, return_free_memory

SILENT_SECONDS = 5.0
STOP_IDLE_SECONDS = 2.0
RECEIVE_BYTES = 256 * 1024
TRIM_SECONDS = 10.0
TRIM_BYTES = 64_000_000
PAUSE_SECONDS = 0.1  # without accepting connections, when there is no room for them
# Connections in these states are closed to make room for a new one, in this order.
EVICTED = (State.CLOSING, State.IDLE, State.HEAD, State.BODY, State.SENDING)
# Errors of `accept` when the system has no room for a connection.
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class EventLoop(ThreadWorker):
    """Accepts connections and calls its subclass when one is ready; it never blocks on a client.
    When `worker_connections` are open, a new connection replaces the oldest ones: see EVICTED.

    glibc keeps freed memory in an arena of each thread, which adds up to a gigabyte after some
    hundred large images. Here all threads share two arenas, large blocks are returned to the system
    when they are freed (see system.py), and other free memory every TRIM_SECONDS and after
    TRIM_BYTES of requests. To return all of it after each image would take a tenth of its time.
    """

    _accepting: bool  # set by ThreadWorker

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._connections: dict[Connection, None] = {}  # the oldest first
        self._held = 0
        self._scratch = memoryview(bytearray(RECEIVE_BYTES))
        self._swept = 0.0
        self._trimmed = 0.0
        self._freed = 0  # bytes of requests that ended since free memory was last returned
        self._accept_again = 0.0

    def init_process(self) -> None:
        limit_kept_memory()
        self.worker_connections = enough_files(self.worker_connections)
        super().init_process()

    def run(self) -> None:
        self.log.error_log.addFilter(KindsOnly())
        methods: Any = self.method_queue
        self.poller.register(methods.fileno(), selectors.EVENT_READ, methods.run_callbacks)
        while self.alive and self.is_parent_alive():
            self._turn()
        self.set_accept_enabled(False)
        stop = time.monotonic() + self.cfg.graceful_timeout
        for conn in self._in_state(State.IDLE):
            conn.deadline = min(conn.deadline, time.monotonic() + STOP_IDLE_SECONDS)
        while self._connections and time.monotonic() < stop:
            self._turn()
        for conn in list(self._connections):
            self._drop(conn, reset=True)
        self.tpool.shutdown(wait=False)
        self.poller.close()
        self.method_queue.close()
        for sock in self.sockets:
            sock.close()

    def _turn(self) -> None:
        """Wait for events once, and do everything that is due."""
        self.notify()
        now = time.monotonic()
        if self.alive:
            self.set_accept_enabled(now >= self._accept_again)
        self.wait_for_and_dispatch_events(timeout=1.0 if self._accepting else PAUSE_SECONDS)
        if now - self._swept >= 1:
            self._sweep(now)
            self._swept = now
        if now - self._trimmed > TRIM_SECONDS or self._freed > TRIM_BYTES:
            self.tpool.submit(return_free_memory)
            self._trimmed, self._freed = now, 0

    # Connections

    def accept(self, listener: Any) -> None:
        """Called by the loop when a client connects."""
        if len(self._connections) >= self.worker_connections:
            self._evict()
        if len(self._connections) >= self.worker_connections:
            self._accept_again = time.monotonic() + PAUSE_SECONDS
            return
        try:
            sock, client = listener.accept()
        except OSError as error:  # another worker accepted it, or the client is gone
            if error.errno in NO_ROOM:
                log_fault(error)
                self._evict()
                self._accept_again = time.monotonic() + PAUSE_SECONDS
            return
        sock.setblocking(False)
        conn = Connection(sock, client, listener.getsockname(), self._wake)
        conn.deadline = time.monotonic() + SILENT_SECONDS
        self._connections[conn] = None
        self._guarded(self._receive, conn)  # the request has often arrived already

    def _evict(self) -> None:
        """Close the oldest connections that no thread works for, 5 % of all at a time."""
        wanted = max(1, self.worker_connections // 20)
        for state in EVICTED:
            for conn in self._in_state(state)[:wanted]:
                self._drop(conn, reset=state is State.SENDING)
                wanted -= 1

    def _in_state(self, *states: State) -> list[Connection]:
        return [conn for conn in self._connections if conn.state in states]

    def _watch(self, conn: Connection, events: int) -> None:
        if events == conn.events:
            return
        if not events:
            self.poller.unregister(conn.sock)
        elif conn.events:
            self.poller.modify(conn.sock, events, partial(self._ready, conn))
        else:
            self.poller.register(conn.sock, events, partial(self._ready, conn))
        conn.events = events

    def _ready(self, conn: Connection, _file: Any) -> None:
        """Called by the loop when the socket can be read or written."""
        if conn.state is State.CLOSED:
            return
        if conn.events == selectors.EVENT_WRITE:
            conn.outbox.flush()
            self._guarded(self._progress, conn)
        else:
            self._guarded(self._receive, conn)

    def _guarded(self, step: Callable[[Connection], None], conn: Connection) -> None:
        """Call `step` for one connection. An error ends this connection and no other."""
        try:
            step(conn)
        except Refusal as refusal:
            self._refuse(conn, refusal)
        except Exception as error:
            log_fault(error)
            self._drop(conn, reset=True)
        self._account(conn)

    def _drop(self, conn: Connection, *, reset: bool = False) -> None:
        if conn.state is State.CLOSED:
            return
        self._watch(conn, 0)
        if conn.state is not State.WORKING:  # a thread may read the inbox then
            conn.inbox.clear()
        conn.state = State.CLOSED
        conn.outbox.close(reset=reset)
        self._connections.pop(conn, None)
        self._account(conn)

    def _receive(self, conn: Connection) -> None:
        """Receive what has arrived. Raises Refusal."""
        raise NotImplementedError

    def _progress(self, conn: Connection) -> None:
        """Continue after a part of the response was sent. Raises Refusal."""
        raise NotImplementedError

    def _refuse(self, conn: Connection, refusal: Refusal) -> None:
        """Answer with `refusal` and close the connection."""
        raise NotImplementedError

    def _sweep(self, now: float) -> None:
        """End what is too slow; called once a second."""
        raise NotImplementedError

    def _account(self, conn: Connection) -> None:
        """Count the bytes that a connection holds."""
        raise NotImplementedError

    def _wake(self, conn: Connection) -> None:
        """Let the loop send the unsent part of a stream; called by the thread of the stream."""
        raise NotImplementedError
