"""Buffers of a connection: received bytes that are not read yet, and bytes that are not sent
yet."""

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
# Unsent bytes of a stream beyond which its thread waits for the client.
STREAM_BYTES = 256 * 1024
_RESET = struct.pack("ii", 1, 0)
_NO_RESET = struct.pack("ii", 0, 0)


class Piece:
    """Received bytes in memory of a fixed size. Large pieces are mapped memory, which returns to
    the system when it is freed; the heap would keep it."""

    def __init__(self, size: int) -> None:
        self._memory = mmap.mmap(-1, size) if size >= LARGE_PIECE else bytearray(size)
        self._start = 0
        self._end = 0
        self._size = size

    def __len__(self) -> int:
        return self._end - self._start

    def write(self, data: memoryview) -> int:
        """Store as much of `data` as fits; return the number of bytes."""
        size = min(len(data), self._size - self._end)
        self._memory[self._end : self._end + size] = data[:size]
        self._end += size
        return size

    def readinto(self, buffer: memoryview) -> int:
        """Move the first bytes into `buffer`; return the number of bytes."""
        size = min(len(buffer), len(self))
        buffer[:size] = memoryview(self._memory)[self._start : self._start + size]
        self._start += size
        return size

    def peek(self) -> bytes:
        return bytes(self._memory[self._start : self._end])


class Inbox:
    """Received bytes. Their memory is freed as they are read."""

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
        """Put bytes that were read too far back in front."""
        if data:
            piece = Piece(len(data))
            piece.write(memoryview(data))
            self._pieces.appendleft(piece)
            self.size += len(data)

    def peek(self, size: int) -> bytes:
        """Return at least the first `size` bytes, or all if there are fewer, without removing
        them."""
        found = b""
        for piece in self._pieces:
            found += piece.peek()
            if len(found) >= size:
                break
        return found

    def peeked(self) -> Iterator[bytes]:
        """Return all bytes, piece by piece, without removing them."""
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
        """Read at most `size` bytes; b"" at the end. gunicorn's parser calls it as on a socket."""
        buffer = bytearray(min(size, self.size))
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def split(self, size: int) -> "Inbox":
        """Move the first `size` bytes, which must have arrived, into another inbox. Raises
        ConnectionError if they are not here, because the connection was closed."""
        front = Inbox()
        while self._pieces and size >= front.size + len(self._pieces[0]):
            piece = self._pieces.popleft()
            front._pieces.append(piece)
            front.size += len(piece)
        self.size -= front.size
        if front.size + self.size < size:
            raise ConnectionError
        while front.size < size:
            front.add(self.recv(size - front.size))
        return front

    def clear(self) -> None:
        self._pieces.clear()
        self.size = 0


class Body(io.RawIOBase):
    """The complete body of a request, as a file. Its memory is freed as it is read."""

    def __init__(self, content: Inbox) -> None:
        self._content = content

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._content.readinto(memoryview(buffer))


class Outbox:
    """Sends without blocking and keeps what the socket does not take.

    gunicorn's Response writes to it as to a socket. A response of known length is kept completely
    until the loop has sent it, so its thread is free at once. The length of a stream is unknown, so
    the thread of a stream waits while more than STREAM_BYTES are unsent.
    """

    def __init__(self, sock: socket.socket, wake: Callable[[], None]) -> None:
        self._sock = sock
        self._wake = wake  # tells the loop to send; may be called by any thread
        self._pieces: deque[memoryview] = deque()
        self._changed = threading.Condition()
        self.size = 0
        self.sent = 0
        self.given = 0
        self.streams = False
        self.closed = False

    def sendall(self, data: bytes) -> None:
        """Send or keep `data`. Raises BrokenPipeError when the connection is closed."""
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
        """Begin a response of unknown length. If this process dies, the system resets the
        connection: HTTP/1.0 has no other sign of an incomplete response."""
        self.streams = True
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def end_stream(self) -> None:
        """Mark the stream as complete. Called when everything was sent."""
        if self.streams:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_RESET)
            self.streams = False

    def close(self, *, reset: bool) -> None:
        """Close the socket; `reset` shows the client that the response is incomplete. A thread
        that is still writing gets BrokenPipeError."""
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
            except OSError:  # the client is gone
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
