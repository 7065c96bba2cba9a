"""The scanner that finds the end of a chunked body."""

import pytest

from app.server.chunks import ChunkScanner, TooMuchFraming

GOOD = {
    "empty": b"0\r\n\r\n",
    "two chunks": b"5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n",
    "line breaks in the data": b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
    "extension": b'3;a=b;c="d"\r\nabc\r\n0\r\n\r\n',
    "trailers": b"1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n",
}


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("step", [1, 2, 3, 1000])
def test_scanner_finds_the_end_of_a_body_that_arrives_in_parts(body, step):
    scanner = ChunkScanner()
    for start in range(0, len(body), step):
        assert not scanner.ended
        scanner.feed(body[start : start + step])
    assert scanner.ended


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
def test_scanner_ignores_bytes_after_the_body(body):
    scanner = ChunkScanner()
    assert scanner.feed(body + b"GET / HTTP/1.1\r\n")


WRONG = {
    "no number": b"zz\r\n",
    "begins with a number": b"emo\r\n",
    "empty": b"\r\n",
    "negative": b"-1\r\n",
    "bare line feed": b"5\nhello",
    "long line": b"1" * 2000,
    "long trailers": b"0\r\n" + b"A: b\r\n" * 5000,
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
def test_scanner_reports_the_end_for_malformed_chunks(body):
    assert ChunkScanner().feed(body)


def test_scanner_raises_too_much_framing_for_tiny_chunks():
    scanner = ChunkScanner()
    with pytest.raises(TooMuchFraming):
        scanner.feed(b"1\r\nx\r\n" * 100_000)
    ChunkScanner().feed((b"40\r\n" + b"x" * 64 + b"\r\n") * 10_000)
    ChunkScanner().feed(b"1\r\nx\r\n" * 5_000)


def test_scanner_counts_the_announced_sizes_of_the_chunks():
    scanner = ChunkScanner()
    assert not scanner.feed(b"FFFFFFFF\r\nx")
    assert scanner.data_bytes == 0xFFFFFFFF
