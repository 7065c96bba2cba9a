"""What was received from a client and not used yet, and what is to be sent to it."""

import io
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

PIECE_BYTES = 64 * 1024
# A stream waits for its client when so much of it is unsent.
STREAM_BYTES = 256 * 1024
_RESET = struct.pack("ii", 1, 0)
_NO_RESET = struct.pack("ii", 0, 0)


class Inbox:
    """Received bytes, in pieces that are freed as they are taken. Small ones are joined, so that
    a client that sends byte by byte costs no more than another."""

    def __init__(self) -> None:
        self.pieces: deque[bytearray] = deque()
        self.size = 0

    def add(self, data: memoryview) -> None:
        if self.pieces and len(self.pieces[-1]) < PIECE_BYTES:
            self.pieces[-1] += data
        else:
            self.pieces.append(bytearray(data))
        self.size += len(data)

    def put_back(self, data: bytes) -> None:
        """Return bytes that were taken and belong to what follows."""
        if data:
            self.pieces.appendleft(bytearray(data))
            self.size += len(data)

    def start(self, size: int) -> bytearray:
        """At least the first `size` bytes, or all where there are fewer; they stay here."""
        while len(self.pieces) > 1 and len(self.pieces[0]) < size:
            first = self.pieces.popleft()
            self.pieces[0][:0] = first
        return self.pieces[0] if self.pieces else bytearray()

    def recv(self, size: int) -> bytes:
        """At most `size` bytes, none at the end: what gunicorn's parser asks of a socket."""
        if not self.pieces:
            return b""
        first = self.pieces[0]
        if len(first) <= size:
            data = bytes(self.pieces.popleft())
        else:
            data = bytes(first[:size])
            del first[:size]
        self.size -= len(data)
        return data

    def take(self, size: int) -> "Body":
        """The next `size` bytes, which must be here, without copying them."""
        body = Body()
        while size:
            if len(self.pieces[0]) <= size:
                piece: bytes | bytearray = self.pieces.popleft()
                self.size -= len(piece)
            else:
                piece = self.recv(size)
            body.add(piece)
            size -= len(piece)
        return body

    def clear(self) -> None:
        self.pieces.clear()
        self.size = 0


class Body(io.RawIOBase):
    """The body of a request, all of which was received: its bytes are freed as they are read."""

    def __init__(self) -> None:
        self._pieces: deque[bytes | bytearray] = deque()

    def add(self, piece: bytes | bytearray) -> None:
        self._pieces.append(piece)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._pieces:
            return 0
        first = self._pieces[0]
        size = min(len(buffer), len(first))
        buffer[:size] = first[:size]
        if size == len(first):
            self._pieces.popleft()
        elif isinstance(first, bytearray):
            del first[:size]
        else:
            self._pieces[0] = first[size:]
        return size


class Outbox:
    """Sends without blocking and keeps what the socket does not take.

    gunicorn's Response takes it for a socket. A response whose length is known is kept whole, for
    the loop to send, so its thread is free at once. A stream has no end to keep: where too much of
    it is unsent, its thread waits.
    """

    def __init__(self, sock: socket.socket, wake: Callable[[], None]) -> None:
        self._sock = sock
        self._wake = wake  # has the loop send, from any thread
        self._pieces: deque[memoryview] = deque()
        self._changed = threading.Condition()
        self.size = 0
        self.sent = 0
        self.given = 0
        self.streams = False
        self.closed = False

    def sendall(self, data: bytes) -> None:
        """Raises BrokenPipeError where the connection is gone."""
        with self._changed:
            while self.streams and self.size > STREAM_BYTES and not self.closed:
                self._wake()
                self._changed.wait(1)
            if self.closed:
                raise BrokenPipeError
            self._pieces.append(memoryview(data))
            self.size += len(data)
            self.given += len(data)
            self._send()

    def flush(self) -> None:
        """Send what the socket takes."""
        with self._changed:
            self._send()
            self._changed.notify_all()

    def begin_stream(self) -> None:
        """Mark the response as one whose length is not known. If this process dies, the connection
        is reset: HTTP/1.0 has no other sign that a response is not whole."""
        self.streams = True
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def end_stream(self) -> None:
        """Mark the stream as whole once everything was sent."""
        if self.streams:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_RESET)
            self.streams = False

    def close(self, *, reset: bool) -> None:
        """Close the socket, with a reset where the client must see that the response is not whole.
        A thread that is still writing gets BrokenPipeError."""
        with self._changed:
            self.closed = True
            self._pieces.clear()
            self.size = 0
            try:
                if reset:
                    self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            except OSError:
                pass
            self._sock.close()
            self._changed.notify_all()

    def _send(self) -> None:
        while self._pieces and not self.closed:
            try:
                sent = self._sock.send(self._pieces[0])
            except BlockingIOError:
                return
            except OSError:  # the client is gone; what is left is for nobody
                self.closed = True
                self._pieces.clear()
                self.size = 0
                return
            self.sent += sent
            self.size -= sent
            if sent == len(self._pieces[0]):
                self._pieces.popleft()
            else:
                self._pieces[0] = self._pieces[0][sent:]
