"""The steps of a request in the event loop, with limits on time and memory."""

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
# Bytes per second. A client that reads a response more slowly, on average over `seconds`, is
# disconnected.
MIN_RATE = 4_000
# The part of `buffer_bytes` that unsent responses may use.
UNSENT_SHARE = 0.4
RECEIVING = (State.HEAD, State.BODY)


class Worker(EventLoop):
    """Receives requests, passes them to threads and sends responses, within limits.

    Time: a request must arrive within `seconds` of its first byte, and its response must be ready
    GRACE_SECONDS later. Sending the response has no such limit. But a client that reads less than
    MIN_RATE bytes per second over `seconds` is disconnected with a reset, which tells it that the
    response is incomplete.

    Memory: all connections together buffer at most `buffer_bytes`, and unsent responses at most
    UNSENT_SHARE of that. When a limit is exceeded, the worker closes the connection with the
    largest product of bytes and time. A client that is sending a request gets status 503. A
    connection with an unsent response is reset.

    docker/gunicorn.conf.py sets the class attributes from the settings.
    """

    seconds = 30.0
    buffer_bytes = 256_000_000
    form_bytes = 241_000_000
    body_bytes = 21_000_000

    # Receiving

    def _receive(self, conn: Connection) -> None:
        try:
            size = conn.sock.recv_into(self._receive_buffer)
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
            conn.receive(self._receive_buffer[:size])
            self._advance(conn)
        elif conn.state is State.IDLE:
            self._drop(conn)
        else:
            raise premature_end()

    def _advance(self, conn: Connection) -> None:
        """Advance the state of a request after bytes were received. Raises Refusal."""
        now = time.monotonic()
        if conn.state is State.IDLE and conn.inbox.size:
            conn.state, conn.since = State.HEAD, now
            conn.deadline = now + min(HEAD_SECONDS, self.seconds)
        if conn.state is State.HEAD and conn.read_head(self.cfg, self._body_limit):
            conn.state, conn.deadline = State.BODY, conn.since + self.seconds
            if conn.pop_expects_continue() and not conn.body_is_complete:
                conn.outbox.sendall(CONTINUE)
        if conn.state is State.BODY and conn.body_is_complete:
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
        conn.keep_alive, conn.refused = False, True
        with contextlib.suppress(OSError):
            conn.outbox.sendall(refusal.response())
        self._continue_sending(conn)

    # Running the application

    def _work(self, conn: Connection) -> None:
        """Run the application for a request. Called in a thread."""
        keep_alive, complete = answer(conn, self.wsgi, self.cfg, stopping=not self.alive)
        self.method_queue.defer(self._finish, conn, keep_alive, complete)

    def _finish(self, conn: Connection, keep_alive: bool, complete: bool) -> None:
        """End the request. The loop calls this after `_work`."""
        conn.end_request()
        conn.keep_alive = keep_alive
        if conn.state is State.CLOSED:
            return
        if complete:
            self._run_step(self._continue_sending, conn)
        else:
            self._drop(conn, reset=True)

    # Sending

    def _wake(self, conn: Connection) -> None:
        """Called by a thread that waits until the client has read more of a stream."""
        self.method_queue.defer(self._send_stream, conn)

    def _send_stream(self, conn: Connection) -> None:
        if conn.state is State.WORKING and conn.outbox.size:
            self._watch(conn, selectors.EVENT_WRITE)
            self._update_total(conn)

    def _continue_sending(self, conn: Connection) -> None:
        """Wait until the socket accepts more of the response, or end it when all of it was sent."""
        if conn.outbox.closed:
            self._drop(conn)
        elif conn.state is State.WORKING and conn.request is not None:
            if not conn.outbox.size:
                self._watch(conn, 0)
        elif conn.outbox.size:
            self._watch(conn, selectors.EVENT_WRITE)
            if conn.state is not State.SENDING:
                conn.state = State.SENDING
                self._start_measurement(conn)
                self._limit_unsent()
        else:
            self._end_response(conn)

    def _end_response(self, conn: Connection) -> None:
        conn.outbox.end_stream()
        conn.confirmed_before = None
        now = time.monotonic()
        if conn.keep_alive:
            conn.state, conn.since = State.IDLE, now
            idle = self.cfg.keepalive if self.alive else STOP_IDLE_SECONDS
            conn.deadline = now + idle
            self._advance(conn)
            return
        if not conn.refused and conn.has_no_input():
            self._drop(conn)
            return
        # Closing a socket with unread input resets the connection, and the client could lose the
        # response (RFC 9112, 9.6).
        conn.state, conn.deadline = State.CLOSING, now + CLOSING_SECONDS
        conn.inbox.clear()
        with contextlib.suppress(OSError):
            conn.sock.shutdown(socket.SHUT_WR)
        self._watch(conn, selectors.EVENT_READ)

    def _start_measurement(self, conn: Connection) -> None:
        """Start a period of `seconds` in which the client must read enough of the response."""
        conn.confirmed_before = conn.confirmed_bytes
        conn.deadline = time.monotonic() + self.seconds

    # Limits

    def _sweep(self, now: float) -> None:
        """Disconnect slow clients. Called once a second."""
        for conn in list(self._connections):
            if conn.state is State.CLOSED:
                continue  # closed during this sweep to free memory
            streams = conn.state is State.WORKING and conn.outbox.streams
            # The stream has just begun, or the client waits for the application.
            if streams and (conn.confirmed_before is None or not conn.outbox.size):
                self._start_measurement(conn)
            if now < conn.deadline:
                continue
            if conn.has_confirmed(MIN_RATE * self.seconds):
                self._start_measurement(conn)
            elif conn.state in RECEIVING:
                self._refuse(conn, too_slow())
                self._update_total(conn)
            else:
                self._drop(conn, reset=conn.state in (State.SENDING, State.WORKING))

    def _limit_unsent(self) -> None:
        """Disconnect slow clients while unsent responses use more than their share of the buffers,
        so that requests can use the rest."""
        sending = self._in_state(State.SENDING)
        while sum(conn.outbox.size for conn in sending) > UNSENT_SHARE * self.buffer_bytes:
            self._disconnect(_largest(sending))
            sending = self._in_state(State.SENDING)

    def _update_total(self, conn: Connection) -> None:
        """Update the total of buffered bytes, and close connections while it is too large."""
        before, buffered = conn.counted_bytes, conn.buffered_bytes
        conn.counted_bytes = 0 if conn.state is State.CLOSED else buffered
        change = conn.counted_bytes - before
        self._total_bytes += change
        self._freed_bytes += max(0, -change)
        while change > 0 and self._total_bytes > self.buffer_bytes:
            candidates = self._in_state(State.SENDING, *RECEIVING)
            if not candidates:
                return
            largest = _largest(candidates)
            if not largest.counted_bytes:
                return
            if largest.state in RECEIVING:
                self._refuse(largest, out_of_memory())
                self._update_total(largest)
            else:
                self._disconnect(largest)

    def _disconnect(self, conn: Connection) -> None:
        log_refusal("OutOfMemory", 503)
        self._drop(conn, reset=True)


def _largest(connections: Sequence[Connection]) -> Connection:
    """Return the connection with the largest product of buffered bytes and time."""
    now = time.monotonic()
    return max(connections, key=lambda conn: conn.buffered_bytes * (now - conn.since))
