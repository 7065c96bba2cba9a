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
_M_ARENA_MAX = -8  # of mallopt, malloc.h


def limit_arenas() -> None:
    """Have all threads share a few arenas of glibc: each keeps what large images took in it."""
    _c("mallopt", _M_ARENA_MAX, ARENAS)


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
