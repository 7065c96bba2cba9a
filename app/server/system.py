"""Calls of the operating system and the C library."""

import contextlib
import ctypes
import fcntl
import resource
import socket
import struct
import termios

OTHER_FILES = 100  # open files besides connections: database, models, pipes
ARENAS = 2
# glibc returns blocks of this size or more to the system when they are freed. By default it raises
# the threshold to the size of freed blocks, up to 32 MB. The blocks in which Pillow stores an image
# would then stay in the heap.
MMAP_THRESHOLD_BYTES = 8 * 2**20
_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3  # parameters of mallopt: see malloc.h


def configure_malloc() -> None:
    """Limit the freed memory that glibc does not return to the system.

    All threads share a few arenas, because each arena retains freed memory. Large blocks are
    returned immediately.
    """
    _call_libc("mallopt", _M_ARENA_MAX, ARENAS)
    _call_libc("mallopt", _M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)


def return_free_memory() -> None:
    _call_libc("malloc_trim", 0)


def raise_file_limit(connections: int) -> int:
    """Raise the limit of open files for `connections`, as far as the system allows it.

    Return the number of connections that the process can have open, at most `connections`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + OTHER_FILES
    if soft < needed:
        with contextlib.suppress(ValueError, OSError):
            allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return max(1, min(connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OTHER_FILES))


def unconfirmed_bytes(sock: socket.socket) -> int:
    """Return the bytes in the send buffer of a TCP socket that the client has not acknowledged."""
    count = bytearray(4)
    with contextlib.suppress(OSError):
        fcntl.ioctl(sock, termios.TIOCOUTQ, count)
    return int(struct.unpack("i", count)[0])


def _call_libc(name: str, *arguments: int) -> None:
    """Call a function of the C library, if the library has it."""
    if function := getattr(ctypes.CDLL(None), name, None):
        function(*arguments)
