"""The event loop of a worker: accepts connections and dispatches the events of their sockets."""

import errno
import selectors
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from app.server.connection import Connection, State
from app.server.log import ClientDataFilter, log_fault
from app.server.refusals import Refusal
from app.server.system import configure_malloc, raise_file_limit, return_free_memory

SILENT_SECONDS = 5.0  # time that a new connection has to send the first bytes
STOP_IDLE_SECONDS = 2.0  # keep-alive time of idle connections while the worker stops
RECEIVE_BYTES = 256 * 1024
# Free memory is returned to the system after this time, or after this many freed buffer bytes.
TRIM_SECONDS = 10.0
TRIM_BYTES = 64_000_000
PAUSE_SECONDS = 0.1  # wait before accepting again when there was no room for a connection
# The loop closes connections in these states, in this order, to make room for new ones.
EVICTED = (State.CLOSING, State.IDLE, State.HEAD, State.BODY, State.SENDING)
# Errors of `accept` when the system has no room for a connection.
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class EventLoop(ThreadWorker):
    """Accepts connections and calls the subclass when one is ready. Never blocks on a client.

    When `worker_connections` are open, a new connection replaces the oldest ones: see EVICTED.

    By default glibc retains freed memory in one arena per thread. After a few hundred large images
    this adds up to a gigabyte. In this worker, all threads share two arenas, and large blocks are
    returned to the system when they are freed (see system.py). Other free memory is returned every
    TRIM_SECONDS and after TRIM_BYTES of requests: doing this after each image would slow the
    analysis by 10 %.
    """

    _accepting: bool  # set by ThreadWorker

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._connections: dict[Connection, None] = {}  # in the order of their age, oldest first
        self._total_bytes = 0  # buffered bytes of all connections
        self._receive_buffer = memoryview(bytearray(RECEIVE_BYTES))
        self._last_sweep = 0.0
        self._last_trim = 0.0
        self._freed_bytes = 0  # since the last trim
        self._accept_again = 0.0

    def init_process(self) -> None:
        configure_malloc()
        self.worker_connections = raise_file_limit(self.worker_connections)
        super().init_process()

    def run(self) -> None:
        self.log.error_log.addFilter(ClientDataFilter())
        methods: Any = self.method_queue
        self.poller.register(methods.fileno(), selectors.EVENT_READ, methods.run_callbacks)
        while self.alive and self.is_parent_alive():
            self._run_once()
        self.set_accept_enabled(False)
        stop = time.monotonic() + self.cfg.graceful_timeout
        for conn in self._in_state(State.IDLE):
            conn.deadline = min(conn.deadline, time.monotonic() + STOP_IDLE_SECONDS)
        while self._connections and time.monotonic() < stop:
            self._run_once()
        for conn in list(self._connections):
            self._drop(conn, reset=True)
        self.tpool.shutdown(wait=False)
        self.poller.close()
        self.method_queue.close()
        for sock in self.sockets:
            sock.close()

    def _run_once(self) -> None:
        """Wait for events, handle them, and run the periodic tasks that are due."""
        self.notify()
        now = time.monotonic()
        if self.alive:
            self.set_accept_enabled(now >= self._accept_again)
        self.wait_for_and_dispatch_events(timeout=1.0 if self._accepting else PAUSE_SECONDS)
        if now - self._last_sweep >= 1:
            self._sweep(now)
            self._last_sweep = now
        if now - self._last_trim > TRIM_SECONDS or self._freed_bytes > TRIM_BYTES:
            self.tpool.submit(return_free_memory)
            self._last_trim, self._freed_bytes = now, 0

    # Connections

    def accept(self, listener: Any) -> None:
        """Accept a connection. The loop calls this when a client connects."""
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
        self._run_step(self._receive, conn)  # the request has often arrived already

    def _evict(self) -> None:
        """Close the oldest 5 % of the connections that no thread is working for."""
        count = max(1, self.worker_connections // 20)
        for state in EVICTED:
            for conn in self._in_state(state)[:count]:
                self._drop(conn, reset=state is State.SENDING)
                count -= 1

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
        """Receive or send. The loop calls this when the socket can be read or written."""
        if conn.state is State.CLOSED:
            return
        if conn.events == selectors.EVENT_WRITE:
            conn.outbox.flush()
            self._run_step(self._continue_sending, conn)
        else:
            self._run_step(self._receive, conn)

    def _run_step(self, step: Callable[[Connection], None], conn: Connection) -> None:
        """Call `step` for a connection. An error closes this connection only."""
        try:
            step(conn)
        except Refusal as refusal:
            self._refuse(conn, refusal)
        except Exception as error:
            log_fault(error)
            self._drop(conn, reset=True)
        self._update_total(conn)

    def _drop(self, conn: Connection, *, reset: bool = False) -> None:
        if conn.state is State.CLOSED:
            return
        self._watch(conn, 0)
        if conn.state is not State.WORKING:  # while it is WORKING, a thread may read the inbox
            conn.inbox.clear()
        conn.state = State.CLOSED
        conn.outbox.close(reset=reset)
        self._connections.pop(conn, None)
        self._update_total(conn)

    def _receive(self, conn: Connection) -> None:
        """Receive the bytes that have arrived. Raises Refusal."""
        raise NotImplementedError

    def _continue_sending(self, conn: Connection) -> None:
        """Continue after a part of the response was sent. Raises Refusal."""
        raise NotImplementedError

    def _refuse(self, conn: Connection, refusal: Refusal) -> None:
        """Send `refusal` and close the connection."""
        raise NotImplementedError

    def _sweep(self, now: float) -> None:
        """Disconnect slow clients. Called once a second."""
        raise NotImplementedError

    def _update_total(self, conn: Connection) -> None:
        """Update the total of buffered bytes after those of `conn` have changed."""
        raise NotImplementedError

    def _wake(self, conn: Connection) -> None:
        """Let the loop send the unsent part of a stream. Called by the thread of the stream."""
        raise NotImplementedError
