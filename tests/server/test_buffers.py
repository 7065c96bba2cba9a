"""Input that is freed as it is read, and output that never blocks."""

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
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def received(size):
    """(inbox, its bytes), received in pieces of many sizes."""
    data = random.Random(0).randbytes(size)
    inbox, start = Inbox(), 0
    for step in (1, 5000, 1, 300_000, *[LARGE_PIECE // 3] * 20):
        inbox.add(memoryview(data)[start : start + step])
        start = min(size, start + step)
    return inbox, data


def test_bytes_are_read_in_the_order_in_which_they_came():
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
def test_a_body_ends_where_its_length_says(size):
    inbox, data = received(3 * LARGE_PIECE)
    body = Body(inbox.split(size))
    assert inbox.size == len(data) - size
    assert io.BufferedReader(body).read() == data[:size]
    assert b"".join(inbox.peeked()) == data[size:]


def test_a_response_of_known_length_is_kept_whole(pair):
    ours, theirs = pair
    outbox = Outbox(ours, lambda: pytest.fail("nobody waits"))
    data = bytes(5_000_000)
    outbox.sendall(data)
    outbox.sendall(b"end")
    assert 0 < outbox.size < len(data)
    came = 0
    while came < len(data) + 3:
        came += len(theirs.recv(1_000_000))
        outbox.flush()
    assert outbox.size == 0
    assert outbox.sent == outbox.accepted == came


def test_a_stream_waits_for_its_client(pair):
    ours, theirs = pair
    woken = threading.Event()
    outbox = Outbox(ours, woken.set)
    outbox.streams = True

    def write():
        for _ in range(50):
            outbox.sendall(bytes(100_000))

    thread = threading.Thread(target=write)
    thread.start()
    assert woken.wait(10)
    assert outbox.size < STREAM_BYTES + 2 * 100_000
    came = 0
    while came < 5_000_000:
        came += len(theirs.recv(100_000))
        outbox.flush()
    thread.join(10)
    assert not thread.is_alive()


def test_a_stream_that_waits_ends_with_its_connection(pair):
    ours, _ = pair
    woken, ended = threading.Event(), threading.Event()
    outbox = Outbox(ours, woken.set)
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


def test_a_stream_resets_the_connection_unless_it_is_whole():
    def linger(sock):
        return struct.unpack("ii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))

    with socket.socket() as sock:
        outbox = Outbox(sock, lambda: None)
        outbox.begin_stream()
        assert linger(sock) == (1, 0)
        outbox.end_stream()
        assert linger(sock)[0] == 0


def test_a_body_of_a_connection_that_was_closed_ends_at_once():
    inbox = Inbox()
    inbox.add(memoryview(b"abc"))
    inbox.clear()
    with pytest.raises(ConnectionError):
        inbox.split(3)


def test_a_request_whose_connection_was_closed_meanwhile_is_not_answered():
    ours, theirs = socket.socketpair()
    with theirs:
        conn = Connection(ours, None, None, lambda _conn: None)
        conn.state = State.CLOSED
        assert answer(conn, None, None, stopping=False) == (False, False)
        ours.close()


def test_a_refusal_keeps_no_frames_of_earlier_ones():
    def frames():
        try:
            raise bad_percent()
        except Refusal as refusal:
            return len(list(traceback.walk_tb(refusal.__traceback__)))

    assert frames() == frames()
