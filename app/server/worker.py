"""Handles requests in the event loop, and limits what they take: seconds, bytes, memory."""

import contextlib
import selectors
import socket
import time

from app.server.answering import answer
from app.server.connection import CONTINUE, Connection, State
from app.server.log import log_refusal
from app.server.loop import STOP_IDLE_SECONDS, EventLoop
from app.server.refusals import Refusal, out_of_memory, premature_end, too_slow

GRACE_SECONDS = 5.0
HEAD_SECONDS = 10.0
CLOSING_SECONDS = 2.0
# A client that takes fewer bytes a second of a response, over `seconds`, is cut off.
LEAST_RATE = 4_000
RECEIVING = (State.HEAD, State.BODY)


class Worker(EventLoop):
    """A request has `seconds` from its first byte to be received, and GRACE_SECONDS more to be
    answered. Sending the response has no such limit, but a client that takes nothing of it, or too
    little, for `seconds` is cut off, by a reset: what it has is not whole.

    All requests that are being received or answered and all responses that are being sent may hold
    `buffer_bytes` together. Beyond that, the request that held the most for the longest is refused.
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
        if not conn.refused and conn.nothing_follows:
            self._drop(conn)
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
            if conn.state is State.CLOSED:
                continue  # it made room for another just now
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
