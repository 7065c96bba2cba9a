"""The event loop of a worker: which connections are open, and what each of them waits for."""

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
from app.server.system import enough_files, limit_arenas, return_free_memory

SILENT_SECONDS = 5.0
STOP_IDLE_SECONDS = 2.0
RECEIVE_BYTES = 256 * 1024
TRIM_SECONDS = 10.0
TRIM_BYTES = 64_000_000
PAUSE_SECONDS = 0.1  # before more connections are accepted where there is no room for them
# Who makes room for a new connection: those in the first of these states before the others.
EVICTED = (State.CLOSING, State.IDLE, State.HEAD, State.BODY, State.SENDING)
# What `accept` says where the system has no room for a connection.
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class EventLoop(ThreadWorker):
    """Accepts connections, tells its subclass what is ready, and never waits for one of them. With
    `worker_connections` open, the oldest that are silent make room for a new one.

    glibc keeps what large images took in an arena for each thread, a gigabyte after some hundred
    images. Here threads share two arenas, and free memory is returned every TRIM_SECONDS and after
    TRIM_BYTES of requests: limits on what glibc keeps would do that at each image and cost a tenth
    of its time.
    """

    _accepting: bool  # ThreadWorker's

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._connections: dict[Connection, None] = {}  # the oldest first
        self._held = 0
        self._scratch = memoryview(bytearray(RECEIVE_BYTES))
        self._swept = 0.0
        self._trimmed = 0.0
        self._freed = 0  # bytes since then
        self._accept_again = 0.0

    def init_process(self) -> None:
        limit_arenas()
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
        """Everything that is due now."""
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
        """Called by the loop when a client waits."""
        if len(self._connections) >= self.worker_connections:
            self._evict()
        if len(self._connections) >= self.worker_connections:
            self._accept_again = time.monotonic() + PAUSE_SECONDS
            return
        try:
            sock, client = listener.accept()
        except OSError as error:  # another worker was quicker, or the client is gone already
            if error.errno in NO_ROOM:
                log_fault(error)
                self._evict()
                self._accept_again = time.monotonic() + PAUSE_SECONDS
            return
        sock.setblocking(False)
        conn = Connection(sock, client, listener.getsockname(), self._wake)
        conn.deadline = time.monotonic() + SILENT_SECONDS
        self._connections[conn] = None
        self._guarded(self._receive, conn)  # the request is often here already

    def _evict(self) -> None:
        """Close the oldest of those that nobody is at work for, some at a time."""
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
        """Called by the loop when there is something to receive, or room to send."""
        if conn.state is State.CLOSED:
            return
        if conn.events == selectors.EVENT_WRITE:
            conn.outbox.flush()
            self._guarded(self._progress, conn)
        else:
            self._guarded(self._receive, conn)

    def _guarded(self, step: Callable[[Connection], None], conn: Connection) -> None:
        """Go on with one connection: whatever goes wrong with it, the others are served."""
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
        conn.state = State.CLOSED
        conn.inbox.clear()
        conn.outbox.close(reset=reset)
        self._connections.pop(conn, None)
        self._account(conn)

    def _receive(self, conn: Connection) -> None:
        """Go on where there is something to receive. Raises Refusal."""
        raise NotImplementedError

    def _progress(self, conn: Connection) -> None:
        """Go on where some of the response was sent. Raises Refusal."""
        raise NotImplementedError

    def _refuse(self, conn: Connection, refusal: Refusal) -> None:
        """Answer by `refusal` and close."""
        raise NotImplementedError

    def _sweep(self, now: float) -> None:
        """End what is too slow; called once a second."""
        raise NotImplementedError

    def _account(self, conn: Connection) -> None:
        """Count what a connection holds."""
        raise NotImplementedError

    def _wake(self, conn: Connection) -> None:
        """Have the loop send what a stream has; called by its thread."""
        raise NotImplementedError
