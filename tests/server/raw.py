"""Clients that speak HTTP byte by byte."""

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
    """So many connections that have sent `data` and stay open."""
    connections = [connect(url, data) for _ in range(count)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


def read_all(connection):
    """(everything up to the end, whether it ended by a reset)."""
    came = b""
    try:
        while piece := connection.recv(65536):
            came += piece
    except ConnectionResetError:
        return came, True
    return came, False


def ask(url, data, *, end=False):
    """Everything that is answered until the connection closes."""
    with connect(url, data) as connection:
        if end:
            connection.shutdown(socket.SHUT_WR)
        return read_all(connection)[0]


def status(answer):
    return int(answer.split(b" ", 2)[1])


def seconds(call):
    began = time.monotonic()
    call()
    return time.monotonic() - began
