"""Calls of the operating system and the C library."""

import contextlib
import ctypes
import fcntl
import resource
import socket
import struct
import termios

SPARE_FILES = 100  # open files besides connections: database, models, pipes
ARENAS = 2
# Larger blocks are returned to the system when they are freed. By default glibc raises this limit
# up to 32 MB with the size of freed blocks, and then keeps the blocks in which Pillow stores an
# image.
RETURNED_BYTES = 8 * 2**20
_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3  # parameters of mallopt: see malloc.h


def limit_kept_memory() -> None:
    """Let all threads share a few arenas of glibc, because each arena keeps freed memory, and
    return large blocks to the system at once."""
    _c("mallopt", _M_ARENA_MAX, ARENAS)
    _c("mallopt", _M_MMAP_THRESHOLD, RETURNED_BYTES)


def return_free_memory() -> None:
    _c("malloc_trim", 0)


def enough_files(connections: int) -> int:
    """Raise the limit of open files as far as needed and allowed. Return how many of `connections`
    this process can then have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_FILES
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            within = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (within, hard))
    return max(1, min(connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES))


def unconfirmed_bytes(sock: socket.socket) -> int:
    """Bytes in the send buffer of a TCP socket that the other side has not acknowledged."""
    answer = bytearray(4)
    with contextlib.suppress(OSError):
        fcntl.ioctl(sock, termios.TIOCOUTQ, answer)
    return int(struct.unpack("i", answer)[0])


def _c(name: str, *arguments: int) -> None:
    """Call a function of the C library, if it has that function."""
    if function := getattr(ctypes.CDLL(None), name, None):
        function(*arguments)
