"""The worker: a loop that never waits, and threads that answer whole requests."""

import contextlib
import errno
import selectors
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from gunicorn.http import wsgi
from gunicorn.workers.gthread import ThreadWorker

from app.server.connection import CONTINUE, Connection, State
from app.server.log import KindsOnly, log_fault, log_refusal
from app.server.refusals import Refusal, out_of_memory, premature_end, too_slow
from app.server.system import enough_files, limit_arenas, return_free_memory

GRACE_SECONDS = 5.0
SILENT_SECONDS = 5.0
HEAD_SECONDS = 10.0
CLOSING_SECONDS = 2.0
STOP_IDLE_SECONDS = 2.0
# A client that takes fewer bytes a second of a response, over `seconds`, is cut off.
LEAST_RATE = 4_000
RECEIVE_BYTES = 256 * 1024
TRIM_SECONDS = 10.0
TRIM_BYTES = 64_000_000
PAUSE_SECONDS = 0.1  # before more connections are accepted where there is no room for them

RECEIVING = (State.HEAD, State.BODY)
# Who makes room for a new connection: those in the first of these states before the others.
EVICTED = (State.CLOSING, State.IDLE, State.HEAD, State.BODY, State.SENDING)
# What `accept` says where the system has no room for a connection.
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Worker(ThreadWorker):
    """A request has `seconds` from its first byte to be received, and GRACE_SECONDS more to be
    answered. Sending the response has no such limit, but a client that takes nothing of it, or too
    little, for `seconds` is cut off, by a reset: what it has is not whole.

    All requests that are being received or answered and all responses that are being sent may hold
    `buffer_bytes` together. Beyond that, whoever held the most for the longest is refused. With
    `worker_connections` open, the oldest that is silent makes room for a new one.

    glibc keeps what large images took in an arena for each thread, a gigabyte after some hundred
    images. Here threads share two arenas, and free memory is returned every TRIM_SECONDS and after
    TRIM_BYTES of requests: limits on what glibc keeps would do that at each image and cost a tenth
    of its time.
    """

    seconds = 30.0
    buffer_bytes = 256_000_000
    _accepting: bool  # ThreadWorker's
    form_bytes = 241_000_000
    body_bytes = 21_000_000

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

    # Receiving

    def _receive(self, conn: Connection) -> None:
        try:
            size = conn.sock.recv_into(self._scratch)
        except BlockingIOError:
            self._watch(conn, selectors.EVENT_READ)
            return
        except OSError:
            self._drop(conn)
            return
        if conn.state is State.CLOSING:
            if not size:
                self._drop(conn)
        elif size:
            conn.receive(self._scratch[:size])
            self._advance(conn)
        elif conn.state is State.IDLE:
            self._drop(conn)
        else:
            raise premature_end()

    def _advance(self, conn: Connection) -> None:
        """Go on with a request as far as it was received. Raises Refusal."""
        now = time.monotonic()
        if conn.state is State.IDLE and conn.inbox.size:
            conn.state, conn.since = State.HEAD, now
            conn.deadline = now + min(HEAD_SECONDS, self.seconds)
        if conn.state is State.HEAD and conn.read_head(self.cfg, self._body_limit):
            conn.state, conn.deadline = State.BODY, conn.since + self.seconds
            if conn.expects_continue and not conn.body_is_here:
                conn.outbox.sendall(CONTINUE)
        if conn.state is State.BODY and conn.body_is_here:
            conn.state, conn.deadline = State.WORKING, conn.since + self.seconds + GRACE_SECONDS
            self._watch(conn, 0)
            self.tpool.submit(self._work, conn)
        else:
            self._watch(conn, selectors.EVENT_READ)

    def _body_limit(self, content_type: str) -> int:
        is_form = content_type.lower().startswith("multipart/form-data")
        return self.form_bytes if is_form else self.body_bytes

    def _refuse(self, conn: Connection, refusal: Refusal) -> None:
        log_refusal(refusal.kind, refusal.status)
        conn.inbox.clear()
        conn.end_request()
        conn.keep = False
        with contextlib.suppress(OSError):
            conn.outbox.sendall(refusal.response())
        self._progress(conn)

    # Answering

    def _work(self, conn: Connection) -> None:
        """Answer a request, in a thread."""
        keep, whole, given = False, False, conn.outbox.given
        try:
            keep = self._answer(conn)
            whole = True
        except Refusal as refusal:
            log_refusal(refusal.kind, refusal.status)
            whole = self._send_refusal(conn, refusal)
        except OSError:
            pass  # the client is gone
        except BaseException as error:
            log_fault(error)
            fault = Refusal(500, "ServerFault", "something went wrong; the log has it")
            whole = conn.outbox.given == given and self._send_refusal(conn, fault)
        self.method_queue.defer(self._finish, conn, keep, whole)

    def _send_refusal(self, conn: Connection, refusal: Refusal) -> bool:
        with contextlib.suppress(OSError):
            conn.outbox.sendall(refusal.response())
            return True
        return False

    def _answer(self, conn: Connection) -> bool:
        """Returns whether the connection can be used again. Raises OSError where the client is
        gone, and what the application raises."""
        body, outbox = conn.body(), conn.outbox
        taken_for_socket = cast(socket.socket, outbox)
        response: Any
        response, environ = wsgi.create(
            conn.request, taken_for_socket, conn.client, conn.server, self.cfg
        )
        environ["wsgi.multithread"] = True
        environ["wsgi.input"] = body
        environ["emotion.began"] = time.perf_counter() - (time.monotonic() - conn.since)
        if not self.alive:
            response.force_close()
        pieces = self.wsgi(environ, response.start_response)
        try:
            length = None if response._omits_body else response.response_length
            if length is None and not response._omits_body:
                outbox.begin_stream()
            for piece in pieces:
                response.write(piece)
            if length is not None and response.sent < length:
                raise RuntimeError("the response is shorter than it said")
            response.close()
        finally:
            if hasattr(pieces, "close"):
                pieces.close()
        return not response.should_close()

    def _finish(self, conn: Connection, keep: bool, whole: bool) -> None:
        """Called by the loop when a thread is done with a request."""
        conn.end_request()
        conn.keep = keep
        if conn.state is State.CLOSED:
            return
        if whole:
            self._guarded(self._progress, conn)
        else:
            self._drop(conn, reset=True)

    # Sending

    def _wake(self, conn: Connection) -> None:
        """Called by a thread whose stream waits for its client."""
        self.method_queue.defer(self._send_stream, conn)

    def _send_stream(self, conn: Connection) -> None:
        if conn.state is State.WORKING and conn.outbox.size:
            self._watch(conn, selectors.EVENT_WRITE)
            self._account(conn)

    def _progress(self, conn: Connection) -> None:
        """Go on where the response was sent, or wait for the client to take more of it."""
        if conn.outbox.closed:
            self._drop(conn)
        elif conn.state is State.WORKING and conn.request is not None:
            if not conn.outbox.size:
                self._watch(conn, 0)
        elif conn.outbox.size:
            if conn.state is not State.SENDING:
                conn.state = State.SENDING
                self._measure(conn)
            self._watch(conn, selectors.EVENT_WRITE)
        else:
            self._sent(conn)

    def _sent(self, conn: Connection) -> None:
        conn.outbox.end_stream()
        now = time.monotonic()
        if conn.keep:
            conn.state, conn.since = State.IDLE, now
            idle = self.cfg.keepalive if self.alive else STOP_IDLE_SECONDS
            conn.deadline = now + idle
            self._advance(conn)
            return
        # Closed at once, unread input would have the client lose the response (RFC 9112, 9.6).
        conn.state, conn.deadline = State.CLOSING, now + CLOSING_SECONDS
        conn.inbox.clear()
        with contextlib.suppress(OSError):
            conn.sock.shutdown(socket.SHUT_WR)
        self._watch(conn, selectors.EVENT_READ)

    def _measure(self, conn: Connection) -> None:
        """From now on the client has `seconds` to take enough of the response."""
        conn.confirmed_before = conn.bytes_confirmed
        conn.deadline = time.monotonic() + self.seconds

    # Limits

    def _sweep(self, now: float) -> None:
        """What is too slow ends, once a second."""
        for conn in list(self._connections):
            streams = conn.state is State.WORKING and conn.outbox.streams
            if streams and (conn.confirmed_before is None or not conn.outbox.size):
                self._measure(conn)  # it has begun, or the client waits for the application
            if now < conn.deadline:
                continue
            if conn.took_at_least(LEAST_RATE * self.seconds):
                self._measure(conn)
            elif conn.state in RECEIVING:
                self._refuse(conn, too_slow())
                self._account(conn)
            else:
                self._drop(conn, reset=conn.state in (State.SENDING, State.WORKING))

    def _account(self, conn: Connection) -> None:
        """Count what a connection holds, and make room where all together hold too much."""
        held = 0 if conn.state is State.CLOSED else conn.bytes_held
        self._held += held - conn.held
        self._freed += max(0, conn.held - held)
        grown, conn.held = held > conn.held, held
        while grown and self._held > self.buffer_bytes:
            now = time.monotonic()
            candidates = self._in_state(State.SENDING, *RECEIVING)
            if not candidates:
                return
            largest = max(candidates, key=lambda one: one.held * (now - one.since))
            if not largest.held:
                return
            if largest.state in RECEIVING:
                self._refuse(largest, out_of_memory())
                self._account(largest)
            else:
                log_refusal("OutOfMemory", 503)
                self._drop(largest, reset=True)
