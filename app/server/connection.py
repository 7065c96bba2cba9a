"""The connection of a client and the state of its current request."""

import enum
import socket
import time
from collections.abc import Callable
from typing import Any, cast

from gunicorn.http.body import ChunkedReader
from gunicorn.http.message import Request
from gunicorn.http.unreader import SocketUnreader

from app.server.buffers import Body, Inbox, Outbox
from app.server.chunks import ChunkScanner, TooMuchFraming
from app.server.refusals import (
    bad_percent,
    premature_end,
    refusal_of,
    too_large,
    too_long_head,
    too_much_framing,
)
from app.server.system import unconfirmed_bytes

HEAD_BYTES = 64 * 1024
CHUNKED_STEP = 64 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_DIGITS = frozenset("0123456789abcdefABCDEF")


class State(enum.Enum):
    IDLE = "waits for a request"
    HEAD = "receives the head of a request"
    BODY = "receives the body of a request"
    WORKING = "a thread runs the application"
    SENDING = "the loop sends the response"
    CLOSING = "discards further input, so that the client can read the response"
    CLOSED = "closed"


class Connection:
    """One connection. It is not thread-safe.

    The loop uses it. The thread that runs the application may use only `body` and `outbox`.
    """

    def __init__(
        self, sock: socket.socket, client: Any, server: Any, wake: Callable[["Connection"], None]
    ) -> None:
        self.sock = sock
        self.client = client
        self.server = server
        self.inbox = Inbox()
        self.outbox = Outbox(sock, lambda: wake(self))
        self.state = State.IDLE
        self.deadline = 0.0  # of the current state, on the clock of time.monotonic
        self.events = 0  # the selector events that the loop waits for
        self.counted_bytes = 0  # share in the worker's total, see Worker._update_total
        self.since = time.monotonic()  # when the request began, or when the last response was sent
        self.request: Any = None  # gunicorn.http.message.Request
        self.keep_alive = False
        self.refused = False
        self.confirmed_before: int | None = None  # `confirmed_bytes` at the last measurement
        self._unreader = SocketUnreader(cast(socket.socket, self.inbox))
        self._requests = 0
        self._scanner: ChunkScanner | None = None
        self._length = 0
        self._limit = 0
        self._body_bytes = 0  # size of the body that the thread moved out of the inbox

    @property
    def confirmed_bytes(self) -> int:
        """Bytes of all responses that the client's system has acknowledged."""
        return self.outbox.sent - unconfirmed_bytes(self.sock)

    def has_confirmed(self, min_bytes: float) -> bool:
        """Return whether the client has acknowledged `min_bytes` since the last measurement.

        False if there was no measurement.
        """
        before = self.confirmed_before
        return before is not None and self.confirmed_bytes - before >= min_bytes

    def has_no_input(self) -> bool:
        """Return whether nothing has arrived after the current request."""
        try:
            return not self.inbox.size and not self.sock.recv(1, socket.MSG_PEEK)
        except OSError:  # nothing has arrived, or the client is gone
            return True

    @property
    def buffered_bytes(self) -> int:
        return self.inbox.size + self._body_bytes + self.outbox.size

    def read_head(self, cfg: Any, limit_of: Callable[[str], int]) -> bool:
        """Parse the head of the next request. Return False while it is incomplete.

        `limit_of` maps a Content-Type to the maximum size of a body in bytes. Raises Refusal.
        """
        start = self.inbox.peek(HEAD_BYTES)
        end = start.find(b"\r\n\r\n", 0, HEAD_BYTES)
        # The parser rejects a line that ends with a bare LF, so do not wait for more data.
        has_bare_lf = end < 0 and start.count(b"\n") != start.count(b"\r\n")
        if end < 0 and not has_bare_lf and len(start) < HEAD_BYTES:
            return False
        too_long = len(start) >= HEAD_BYTES and end < 0
        self._requests += 1
        try:
            request: Any = Request(cfg, self._unreader, self.client, self._requests)
        except (StopIteration, OSError) as error:  # gunicorn's NoMoreData is an OSError
            raise too_long_head() if too_long else premature_end() from error
        except Exception as error:
            raise refusal_of(error) from error
        self.inbox.put_back(self._unreader.take_buffered())
        _check_percents(request.uri)
        headers = dict(request.headers)
        self._limit = limit_of(headers.get("CONTENT-TYPE", ""))
        self._scanner, self._length = None, 0
        if isinstance(request.body.reader, ChunkedReader):
            self._scanner = ChunkScanner()
            for data in self.inbox.peeked():
                self._scan(data)
        else:
            self._length = request.body.reader.length
            if self._length > self._limit:
                raise too_large(self._limit)
        self.request = request
        return True

    def receive(self, data: memoryview) -> None:
        """Store received bytes. Raises Refusal if the body is too large."""
        self.inbox.add(data)
        if self.request is not None:
            self._scan(bytes(data) if self._scanner else b"")

    @property
    def body_is_complete(self) -> bool:
        if self._scanner is not None:
            return self._scanner.ended
        return self.inbox.size >= self._length

    def pop_expects_continue(self) -> bool:
        """Return whether the client waits for `100 Continue`: True at most once per request."""
        expects, self.request._expected_100_continue = self.request._expected_100_continue, False
        return bool(expects)

    def body(self) -> Body:
        """Move the complete body out of the inbox. Called once, by the thread.

        Raises Refusal for malformed chunks, and ConnectionError if the connection was closed.
        """
        if self._scanner is None:
            self._body_bytes = self._length
            return Body(self.inbox.split(self._length))
        decoded = Inbox()
        try:
            while data := self.request.body.read(CHUNKED_STEP):
                decoded.add(data)
                self._body_bytes = decoded.size
        except OSError as error:
            raise premature_end() from error
        except Exception as error:
            raise refusal_of(error) from error
        self.inbox.put_back(self._unreader.take_buffered())
        return Body(decoded)

    def end_request(self) -> None:
        """Forget the request. Its response is in the outbox or was sent."""
        self.request = None
        self.confirmed_before = None
        self._scanner = None
        self._body_bytes = 0

    def _scan(self, data: bytes) -> None:
        if self._scanner is None:
            return
        try:
            self._scanner.feed(data)
        except TooMuchFraming:
            raise too_much_framing() from None
        if self._scanner.data_bytes > self._limit:
            raise too_large(self._limit)


def _check_percents(target: str) -> None:
    """Raise Refusal for a % without two hexadecimal digits (RFC 3986, section 2.1)."""
    if any(not _DIGITS.issuperset(part[:2]) or len(part) < 2 for part in target.split("%")[1:]):
        raise bad_percent()
