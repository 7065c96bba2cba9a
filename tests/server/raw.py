"""Raw HTTP clients, which control every byte of a request."""

import socket
import time
from contextlib import contextmanager

HOST = b"Host: 127.0.0.1\r\n"
HEALTH = b"GET /healthz HTTP/1.1\r\n" + HOST
POST = b"POST /v1/images HTTP/1.1\r\n" + HOST + b"Content-Type: image/png\r\n"


def connect(url, data=b"", *, receive_buffer=None):
    host, port = url.removeprefix("http://").split(":")
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(30)
    connection.connect((host, int(port)))
    connection.sendall(data)
    return connection


@contextmanager
def connected(url, count, data=b""):
    """Hold `count` open connections that have sent `data`."""
    connections = [connect(url, data) for _ in range(count)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


def read_all(connection):
    """Read until the connection ends. Return (received bytes, whether it ended with a reset)."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        return received, True
    return received, False


def ask(url, data, *, end=False):
    """Send `data` and return the bytes that arrive until the connection closes.

    With `end`, no further data follows: the client closes its sending side.
    """
    with connect(url, data) as connection:
        if end:
            connection.shutdown(socket.SHUT_WR)
        return read_all(connection)[0]


def status(response):
    return int(response.split(b" ", 2)[1])


def seconds(call):
    """Return the duration of `call()` in seconds."""
    start = time.monotonic()
    call()
    return time.monotonic() - start
