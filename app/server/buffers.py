"""Buffers of a connection: received bytes that were not read yet, and unsent bytes."""

import io
import mmap
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

SMALL_PIECE = 4 * 1024  # bytes; the first piece, which is sufficient for a request without a body
LARGE_PIECE = 1024 * 1024  # bytes
# The thread of a stream waits while more bytes than this are unsent.
STREAM_BYTES = 256 * 1024
# Values of SO_LINGER: on or off, and seconds. With (1, 0), closing resets the connection.
_RESET = struct.pack("ii", 1, 0)
_NO_RESET = struct.pack("ii", 0, 0)


class Piece:
    """A part of the received bytes, in a block of memory of a fixed size.

    Large blocks are mapped memory, because the heap would not return freed blocks to the system.
    """

    def __init__(self, size: int) -> None:
        self._memory = mmap.mmap(-1, size) if size >= LARGE_PIECE else bytearray(size)
        self._start = 0
        self._end = 0
        self._size = size

    def __len__(self) -> int:
        return self._end - self._start

    def write(self, data: memoryview) -> int:
        """Store as much of `data` as fits. Return the number of bytes."""
        size = min(len(data), self._size - self._end)
        self._memory[self._end : self._end + size] = data[:size]
        self._end += size
        return size

    def readinto(self, buffer: memoryview) -> int:
        """Move the first bytes into `buffer`. Return the number of bytes."""
        size = min(len(buffer), len(self))
        buffer[:size] = memoryview(self._memory)[self._start : self._start + size]
        self._start += size
        return size

    def peek(self) -> bytes:
        return bytes(self._memory[self._start : self._end])


class Inbox:
    """Received bytes. Reading frees their memory."""

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self.size = 0

    def add(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        self.size += len(rest)
        while rest:
            if self._pieces and (written := self._pieces[-1].write(rest)):
                rest = rest[written:]
            else:
                self._pieces.append(Piece(SMALL_PIECE if len(self._pieces) == 0 else LARGE_PIECE))

    def put_back(self, data: bytes) -> None:
        """Put bytes back at the front, because gunicorn's parser reads beyond the headers."""
        if data:
            piece = Piece(len(data))
            piece.write(memoryview(data))
            self._pieces.appendleft(piece)
            self.size += len(data)

    def peek(self, size: int) -> bytes:
        """Return at least the first `size` bytes, or all bytes if there are fewer. Remove none."""
        data = b""
        for piece in self._pieces:
            data += piece.peek()
            if len(data) >= size:
                break
        return data

    def peeked(self) -> Iterator[bytes]:
        """Iterate over all bytes, piece by piece. Remove none."""
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
        """Move the first `size` bytes into a new inbox.

        Call this after all of them have arrived. Raises ConnectionError if the connection was
        closed in the meantime, which empties the inbox.
        """
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
    """The complete body of a request as a file. Reading frees its memory."""

    def __init__(self, content: Inbox) -> None:
        self._content = content

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._content.readinto(memoryview(buffer))


class Outbox:
    """Sends without blocking, and buffers the bytes that the socket does not accept.

    gunicorn's Response writes to it as to a socket. A response of known length is buffered
    completely until the loop has sent it, so its thread is free immediately. A stream has an
    unknown length, so its thread waits while more than STREAM_BYTES are unsent.

    `size` is the number of unsent bytes. `sent` is the number of all sent bytes. `accepted` is the
    number of all bytes that were passed to `sendall`. `streams` is True during a response of
    unknown length.
    """

    def __init__(self, sock: socket.socket, wake: Callable[[], None]) -> None:
        self._sock = sock
        self._wake = wake  # asks the loop to send; any thread may call it
        self._pieces: deque[memoryview] = deque()
        self._changed = threading.Condition()
        self.size = 0
        self.sent = 0
        self.accepted = 0
        self.streams = False
        self.closed = False

    def sendall(self, data: bytes) -> None:
        """Send or buffer `data`. Raises BrokenPipeError when the connection is closed."""
        with self._changed:
            while self.streams and self.size > STREAM_BYTES and not self.closed:
                self._wake()
                self._changed.wait(1)
            if self.closed:
                raise BrokenPipeError
            self._pieces.append(memoryview(data))
            self.size += len(data)
            self.accepted += len(data)
            self._send()

    def flush(self) -> None:
        """Send as much as the socket accepts."""
        with self._changed:
            self._send()
            self._changed.notify_all()

    def begin_stream(self) -> None:
        """Begin a response of unknown length.

        From now on the system resets the connection if this process dies. HTTP/1.0 has no other
        sign of an incomplete response.
        """
        self.streams = True
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def end_stream(self) -> None:
        """Mark the stream as complete. Call this when all bytes were sent."""
        if self.streams:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_RESET)
            self.streams = False

    def close(self, *, reset: bool) -> None:
        """Close the socket. With `reset`, the client sees that the response is incomplete.

        A thread that is still writing gets BrokenPipeError.
        """
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
