"""The buffers of a connection: reading frees memory, and writing does not block."""

import io
import random
import socket
import struct
import threading
import traceback

import pytest

from app.server.answering import answer
from app.server.buffers import LARGE_PIECE, STREAM_BYTES, Body, Inbox, Outbox
from app.server.connection import Connection, State
from app.server.refusals import Refusal, bad_percent


@pytest.fixture
def pair():
    """(socket of the server, socket of the client)."""
    server, client = socket.socketpair()
    server.setblocking(False)
    with server, client:
        yield server, client


def received(size):
    """Return (inbox, its bytes). The bytes arrived in pieces of many sizes."""
    data = random.Random(0).randbytes(size)
    inbox, start = Inbox(), 0
    for step in (1, 5000, 1, 300_000, *[LARGE_PIECE // 3] * 20):
        inbox.add(memoryview(data)[start : start + step])
        start = min(size, start + step)
    return inbox, data


def test_inbox_returns_bytes_in_the_order_of_arrival():
    inbox, data = received(3 * LARGE_PIECE)
    assert inbox.size == len(data)
    assert inbox.peek(70_000)[:70_000] == data[:70_000]
    assert b"".join(inbox.peeked()) == data
    read = inbox.recv(100)
    inbox.put_back(read[50:])
    rest = b"".join(iter(lambda: inbox.recv(65_537), b""))
    assert read[:50] + rest == data
    assert inbox.size == 0


@pytest.mark.parametrize("size", [0, 1, 4096, 5001, LARGE_PIECE, 3 * LARGE_PIECE])
def test_split_moves_exactly_the_body(size):
    inbox, data = received(3 * LARGE_PIECE)
    body = Body(inbox.split(size))
    assert inbox.size == len(data) - size
    assert io.BufferedReader(body).read() == data[:size]
    assert b"".join(inbox.peeked()) == data[size:]


def test_outbox_buffers_a_response_of_known_length_completely(pair):
    server, client = pair
    outbox = Outbox(server, lambda: pytest.fail("the thread must not wait"))
    data = bytes(5_000_000)
    outbox.sendall(data)
    outbox.sendall(b"end")
    assert 0 < outbox.size < len(data)
    count = 0
    while count < len(data) + 3:
        count += len(client.recv(1_000_000))
        outbox.flush()
    assert outbox.size == 0
    assert outbox.sent == outbox.accepted == count


def test_stream_waits_for_its_client(pair):
    server, client = pair
    woken = threading.Event()
    outbox = Outbox(server, woken.set)
    outbox.streams = True

    def write():
        for _ in range(50):
            outbox.sendall(bytes(100_000))

    thread = threading.Thread(target=write)
    thread.start()
    assert woken.wait(10)
    assert outbox.size < STREAM_BYTES + 2 * 100_000
    count = 0
    while count < 5_000_000:
        count += len(client.recv(100_000))
        outbox.flush()
    thread.join(10)
    assert not thread.is_alive()


def test_waiting_stream_ends_when_its_connection_is_closed(pair):
    server, _ = pair
    woken, ended = threading.Event(), threading.Event()
    outbox = Outbox(server, woken.set)
    outbox.streams = True

    def write():
        with pytest.raises(BrokenPipeError):
            while True:
                outbox.sendall(bytes(100_000))
        ended.set()

    threading.Thread(target=write).start()
    assert woken.wait(10)
    outbox.close(reset=True)
    assert ended.wait(10)
    assert outbox.size == 0


def test_incomplete_stream_resets_the_connection():
    def linger(sock):
        return struct.unpack("ii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))

    with socket.socket() as sock:
        outbox = Outbox(sock, lambda: None)
        outbox.begin_stream()
        assert linger(sock) == (1, 0)
        outbox.end_stream()
        assert linger(sock)[0] == 0


def test_split_raises_connection_error_after_the_connection_was_closed():
    inbox = Inbox()
    inbox.add(memoryview(b"abc"))
    inbox.clear()
    with pytest.raises(ConnectionError):
        inbox.split(3)


def test_application_does_not_run_for_a_closed_connection():
    server, client = socket.socketpair()
    with client:
        conn = Connection(server, None, None, lambda _conn: None)
        conn.state = State.CLOSED
        assert answer(conn, None, None, stopping=False) == (False, False)
        server.close()


def test_refusals_do_not_accumulate_traceback_frames():
    def frames():
        try:
            raise bad_percent()
        except Refusal as refusal:
            return len(list(traceback.walk_tb(refusal.__traceback__)))

    assert frames() == frames()
