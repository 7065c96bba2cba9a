"""What was received from a client and not used yet, and what is to be sent to it."""

import io
import mmap
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

SMALL_PIECE = 4 * 1024
LARGE_PIECE = 1024 * 1024
# A stream waits for its client when so much of it is unsent.
STREAM_BYTES = 256 * 1024
_RESET = struct.pack("ii", 1, 0)
_NO_RESET = struct.pack("ii", 0, 0)


class Piece:
    """Received bytes in memory of a fixed size. Large pieces are mapped, so that they are returned
    to the system at once: the heap would keep them between what is still in use."""

    def __init__(self, size: int) -> None:
        self._memory = mmap.mmap(-1, size) if size >= LARGE_PIECE else bytearray(size)
        self._start = 0
        self._end = 0
        self._size = size

    def __len__(self) -> int:
        return self._end - self._start

    def write(self, data: memoryview) -> int:
        """Take as much of `data` as there is room for; returns how much."""
        size = min(len(data), self._size - self._end)
        self._memory[self._end : self._end + size] = data[:size]
        self._end += size
        return size

    def readinto(self, buffer: memoryview) -> int:
        """Move the first bytes into `buffer`; returns how many."""
        size = min(len(buffer), len(self))
        buffer[:size] = memoryview(self._memory)[self._start : self._start + size]
        self._start += size
        return size

    def peek(self) -> bytes:
        return bytes(self._memory[self._start : self._end])


class Inbox:
    """Received bytes, which are freed as they are read."""

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self.size = 0

    def add(self, data: bytes | memoryview) -> None:
        left = memoryview(data)
        self.size += len(left)
        while left:
            if self._pieces and (written := self._pieces[-1].write(left)):
                left = left[written:]
            else:
                self._pieces.append(Piece(SMALL_PIECE if len(self._pieces) == 0 else LARGE_PIECE))

    def put_back(self, data: bytes) -> None:
        """Return bytes that were read and belong to what follows."""
        if data:
            piece = Piece(len(data))
            piece.write(memoryview(data))
            self._pieces.appendleft(piece)
            self.size += len(data)

    def peek(self, size: int) -> bytes:
        """At least the first `size` bytes, or all where there are fewer; they stay here."""
        found = b""
        for piece in self._pieces:
            found += piece.peek()
            if len(found) >= size:
                break
        return found

    def peeked(self) -> Iterator[bytes]:
        """All bytes, which stay here."""
        return (piece.peek() for piece in self._pieces)

    def readinto(self, buffer: memoryview) -> int:
        if not self._pieces:
            return 0
        size = self._pieces[0].readinto(buffer)
        if not self._pieces[0]:
            self._pieces.popleft()
        self.size -= size
        return size

    def recv(self, size: int) -> bytes:
        """At most `size` bytes, none at the end: what gunicorn's parser asks of a socket."""
        buffer = bytearray(min(size, self.size))
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def split(self, size: int) -> "Inbox":
        """The next `size` bytes, which must be here, as an inbox of their own."""
        front = Inbox()
        while self._pieces and size >= front.size + len(self._pieces[0]):
            piece = self._pieces.popleft()
            front._pieces.append(piece)
            front.size += len(piece)
        self.size -= front.size
        while front.size < size:
            front.add(self.recv(size - front.size))
        return front

    def clear(self) -> None:
        self._pieces.clear()
        self.size = 0


class Body(io.RawIOBase):
    """The body of a request, all of which was received: its bytes are freed as they are read."""

    def __init__(self, content: Inbox) -> None:
        self._content = content

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._content.readinto(memoryview(buffer))


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
