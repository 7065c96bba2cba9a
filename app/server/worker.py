"""Handles requests in the event loop, and limits their time and memory."""

import contextlib
import selectors
import socket
import time
from collections.abc import Sequence

from app.server.answering import answer
from app.server.connection import CONTINUE, Connection, State
from app.server.log import log_refusal
from app.server.loop import STOP_IDLE_SECONDS, EventLoop
from app.server.refusals import Refusal, out_of_memory, premature_end, too_slow

GRACE_SECONDS = 5.0
HEAD_SECONDS = 10.0
CLOSING_SECONDS = 2.0
# Bytes a second: a client that takes a response more slowly over `seconds` is cut off.
LEAST_RATE = 4_000
# Of `buffer_bytes`, for responses.
UNSENT_SHARE = 0.4
RECEIVING = (State.HEAD, State.BODY)


class Worker(EventLoop):
    """Receives requests, passes them to threads and sends responses, within limits.

    A request must be received within `seconds` of its first byte, and answered within GRACE_SECONDS
    more. Sending the response has no limit of its own, but a client that takes less than LEAST_RATE
    bytes a second over `seconds` is cut off with a reset, so that it sees an incomplete response.

    All requests that are received or answered and all responses that are sent may hold
    `buffer_bytes` together, and the responses UNSENT_SHARE of that. Beyond that, the connection
    with the largest product of bytes and time is cut off: a request with 503, a response with a
    reset.

    docker/gunicorn.conf.py sets the class attributes from the settings.
    """

    seconds = 30.0
    buffer_bytes = 256_000_000
    form_bytes = 241_000_000
    body_bytes = 21_000_000

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
        """Advance the state of a request by what was received. Raises Refusal."""
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
        conn.keep, conn.refused = False, True
        with contextlib.suppress(OSError):
            conn.outbox.sendall(refusal.response())
        self._progress(conn)

    # Answering

    def _work(self, conn: Connection) -> None:
        """Answer a request, in a thread."""
        keep, whole = answer(conn, self.wsgi, self.cfg, stopping=not self.alive)
        self.method_queue.defer(self._finish, conn, keep, whole)

    def _finish(self, conn: Connection, keep: bool, whole: bool) -> None:
        """Called by the loop when a thread has answered a request."""
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
        """Called by a thread that waits until the client takes more of a stream."""
        self.method_queue.defer(self._send_stream, conn)

    def _send_stream(self, conn: Connection) -> None:
        if conn.state is State.WORKING and conn.outbox.size:
            self._watch(conn, selectors.EVENT_WRITE)
            self._account(conn)

    def _progress(self, conn: Connection) -> None:
        """Wait until the client takes more of the response, or end it when all of it was sent."""
        if conn.outbox.closed:
            self._drop(conn)
        elif conn.state is State.WORKING and conn.request is not None:
            if not conn.outbox.size:
                self._watch(conn, 0)
        elif conn.outbox.size:
            self._watch(conn, selectors.EVENT_WRITE)
            if conn.state is not State.SENDING:
                conn.state = State.SENDING
                self._measure(conn)
                self._limit_unsent()
        else:
            self._sent(conn)

    def _sent(self, conn: Connection) -> None:
        conn.outbox.end_stream()
        conn.confirmed_before = None
        now = time.monotonic()
        if conn.keep:
            conn.state, conn.since = State.IDLE, now
            idle = self.cfg.keepalive if self.alive else STOP_IDLE_SECONDS
            conn.deadline = now + idle
            self._advance(conn)
            return
        if not conn.refused and conn.nothing_follows:
            self._drop(conn)
            return
        # If the socket were closed at once, unread input would reset the connection, and the client
        # could lose the response (RFC 9112, 9.6).
        conn.state, conn.deadline = State.CLOSING, now + CLOSING_SECONDS
        conn.inbox.clear()
        with contextlib.suppress(OSError):
            conn.sock.shutdown(socket.SHUT_WR)
        self._watch(conn, selectors.EVENT_READ)

    def _measure(self, conn: Connection) -> None:
        """Give the client `seconds` from now to take enough of the response."""
        conn.confirmed_before = conn.bytes_confirmed
        conn.deadline = time.monotonic() + self.seconds

    # Limits

    def _sweep(self, now: float) -> None:
        """End what is too slow; called once a second."""
        for conn in list(self._connections):
            if conn.state is State.CLOSED:
                continue  # closed during this sweep to free memory
            streams = conn.state is State.WORKING and conn.outbox.streams
            if streams and (conn.confirmed_before is None or not conn.outbox.size):
                self._measure(conn)  # the stream has begun, or the client waits for the application
            if now < conn.deadline:
                continue
            if conn.took_at_least(LEAST_RATE * self.seconds):
                self._measure(conn)
            elif conn.state in RECEIVING:
                self._refuse(conn, too_slow())
                self._account(conn)
            else:
                self._drop(conn, reset=conn.state in (State.SENDING, State.WORKING))

    def _limit_unsent(self) -> None:
        """Cut off slow clients when unsent responses hold more than their share, so that the
        rest is free for requests."""
        sending = self._in_state(State.SENDING)
        while sum(conn.outbox.size for conn in sending) > UNSENT_SHARE * self.buffer_bytes:
            self._cut_off(_largest(sending))
            sending = self._in_state(State.SENDING)

    def _account(self, conn: Connection) -> None:
        """Count the bytes of a connection, and free memory when all together hold too many."""
        held = 0 if conn.state is State.CLOSED else conn.bytes_held
        self._held += held - conn.held
        self._freed += max(0, conn.held - held)
        grown, conn.held = held > conn.held, held
        while grown and self._held > self.buffer_bytes:
            candidates = self._in_state(State.SENDING, *RECEIVING)
            if not candidates:
                return
            largest = _largest(candidates)
            if not largest.held:
                return
            if largest.state in RECEIVING:
                self._refuse(largest, out_of_memory())
                self._account(largest)
            else:
                self._cut_off(largest)

    def _cut_off(self, conn: Connection) -> None:
        log_refusal("OutOfMemory", 503)
        self._drop(conn, reset=True)


def _largest(connections: Sequence[Connection]) -> Connection:
    """The connection with the largest product of bytes and time."""
    now = time.monotonic()
    return max(connections, key=lambda one: one.bytes_held * (now - one.since))
