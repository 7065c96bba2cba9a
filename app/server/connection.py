"""One client's connection: the request that it sends, from its head to its whole body."""

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
from app.server.refusals import Refusal, premature_end, refusal_of, too_large
from app.server.system import unconfirmed_bytes

HEAD_BYTES = 64 * 1024
CHUNKED_STEP = 64 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOO_LONG = Refusal(431, "LimitRequestHeaders", "the headers of the request are too long")
_BAD_PERCENT = Refusal(400, "BadPercent", "% in the URL must be followed by two hexadecimal digits")
_TOO_MUCH_FRAMING = Refusal(400, "TooMuchFraming", "the chunks of the body are too small")
_DIGITS = frozenset("0123456789abcdefABCDEF")


class State(enum.Enum):
    IDLE = "waits for a request"
    HEAD = "receives the head of a request"
    BODY = "receives its body"
    WORKING = "a thread answers it"
    SENDING = "the response is sent"
    CLOSING = "discards what still comes, so that the client can read the response"
    CLOSED = "is gone"


class Connection:
    """Belongs to the worker's loop, except for `body` and `outbox` while a thread answers."""

    def __init__(
        self, sock: socket.socket, client: Any, server: Any, wake: Callable[["Connection"], None]
    ) -> None:
        self.sock = sock
        self.client = client
        self.server = server
        self.inbox = Inbox()
        self.outbox = Outbox(sock, lambda: wake(self))
        self.state = State.IDLE
        self.deadline = 0.0  # of the state, by time.monotonic()
        self.events = 0  # that the poller waits for
        self.held = 0  # bytes that count towards the worker's limit
        self.since = time.monotonic()  # the first byte of the request, or the last response
        self.request: Any = None  # gunicorn.http.message.Request
        self.keep = False
        self.refused = False
        self.confirmed_before: int | None = None  # when its rate was last measured
        self._unreader = SocketUnreader(cast(socket.socket, self.inbox))
        self._requests = 0
        self._scanner: ChunkScanner | None = None
        self._length = 0
        self._limit = 0
        self._body_bytes = 0  # that left the inbox for the thread

    @property
    def bytes_confirmed(self) -> int:
        """Of all responses, bytes that the client's system has received."""
        return self.outbox.sent - unconfirmed_bytes(self.sock)

    def took_at_least(self, wanted: float) -> bool:
        """Whether the client took so many bytes of a response since its rate was last measured;
        False while nothing is sent."""
        before = self.confirmed_before
        return before is not None and self.bytes_confirmed - before >= wanted

    @property
    def nothing_follows(self) -> bool:
        """Whether nothing came after the request that was answered."""
        try:
            return not self.inbox.size and not self.sock.recv(1, socket.MSG_PEEK)
        except OSError:  # nothing is here, or the client is gone
            return True

    @property
    def bytes_held(self) -> int:
        return self.inbox.size + self._body_bytes + self.outbox.size

    def read_head(self, cfg: Any, limit_of: Callable[[str], int]) -> bool:
        """Parse the head of the next request if it is here. `limit_of` says how many bytes a body
        of some Content-Type may have.

        Raises Refusal.
        """
        start = self.inbox.peek(HEAD_BYTES)
        end = start.find(b"\r\n\r\n", 0, HEAD_BYTES)
        # The parser refuses lines that end otherwise, rather than wait for the end of the head.
        bare = end < 0 and start.count(b"\n") != start.count(b"\r\n")
        if end < 0 and not bare and len(start) < HEAD_BYTES:
            return False
        too_long = len(start) >= HEAD_BYTES and end < 0
        self._requests += 1
        try:
            request: Any = Request(cfg, self._unreader, self.client, self._requests)
        except (StopIteration, OSError) as error:  # gunicorn's NoMoreData is an OSError
            raise _TOO_LONG if too_long else premature_end() from error
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
        """Keep bytes that came. Raises Refusal for a body that grows beyond what it may have."""
        self.inbox.add(data)
        if self.request is not None:
            self._scan(bytes(data) if self._scanner else b"")

    @property
    def body_is_here(self) -> bool:
        if self._scanner is not None:
            return self._scanner.ended
        return self.inbox.size >= self._length

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for a word before it sends the body; says so once."""
        expects, self.request._expected_100_continue = self.request._expected_100_continue, False
        return bool(expects)

    def body(self) -> Body:
        """The body, which is here; called once, by the thread. Raises Refusal for chunks that are
        malformed."""
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
        """Forget the request, whose response is in the outbox or sent."""
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
            raise _TOO_MUCH_FRAMING from None
        if self._scanner.data_bytes > self._limit:
            raise too_large(self._limit)


def _check_percents(target: str) -> None:
    """RFC 3986, section 2.1."""
    if any(not _DIGITS.issuperset(part[:2]) or len(part) < 2 for part in target.split("%")[1:]):
        raise _BAD_PERCENT
