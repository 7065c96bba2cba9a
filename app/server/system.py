"""What the server asks of the operating system."""

import contextlib
import ctypes
import fcntl
import resource
import socket
import struct
import termios

SPARE_FILES = 100  # that are no connections: database, models, pipes
ARENAS = 2
# Larger blocks are returned to the system when they are freed. By default glibc raises this limit
# to 32 MB with the blocks it sees, and then keeps the pieces that Pillow makes of an image.
RETURNED_BYTES = 8 * 2**20
_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3  # of mallopt, malloc.h


def limit_kept_memory() -> None:
    """Have all threads share a few arenas of glibc, each of which keeps memory that large images
    took, and keep no large blocks."""
    _c("mallopt", _M_ARENA_MAX, ARENAS)
    _c("mallopt", _M_MMAP_THRESHOLD, RETURNED_BYTES)


def return_free_memory() -> None:
    _c("malloc_trim", 0)


def enough_files(connections: int) -> int:
    """How many of `connections` this process can have open, once its limit of open files has been
    raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_FILES
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            within = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (within, hard))
    return max(1, min(connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES))


def unconfirmed_bytes(sock: socket.socket) -> int:
    """Bytes that were given to a TCP socket and that the other side has not confirmed."""
    answer = bytearray(4)
    with contextlib.suppress(OSError):
        fcntl.ioctl(sock, termios.TIOCOUTQ, answer)
    return int(struct.unpack("i", answer)[0])


def _c(name: str, *arguments: int) -> None:
    """Call the C library, where it has that."""
    if function := getattr(ctypes.CDLL(None), name, None):
        function(*arguments)
