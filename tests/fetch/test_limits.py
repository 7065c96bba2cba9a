"""Fetching by URL: complete files, sizes and time limits."""

import gzip
import threading
import time

import pytest

from app.errors import FetchFailed, FetchTimedOut, ImageTooLarge
from tests.fetch.conftest import FILE, URL
from tests.upstream import ADDRESS, http_response

CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (http_response(b""), FetchFailed),
        (http_response(b"", CHUNKED), FetchFailed),
        (http_response(FILE, f"Content-Length: {len(FILE) + 1}"), FetchFailed),
        (http_response(b"5\r\nabc", CHUNKED), FetchFailed),
        (http_response(b"5\r\nabcde\r\n", CHUNKED), FetchFailed),
        (http_response(b"xyz\r\nabcde\r\n", CHUNKED), FetchFailed),
        (http_response(b"-5\r\nabcde\r\n", CHUNKED), FetchFailed),
        (http_response(gzip.compress(FILE), "Content-Encoding: gzip"), FetchFailed),
        (http_response(gzip.compress(bytes(10**7)), "Content-Encoding: x-gzip"), FetchFailed),
        (http_response(FILE, "Content-Encoding: identity, br"), FetchFailed),
        (http_response(FILE, "Transfer-Encoding: gzip, chunked"), FetchFailed),
        (b"", FetchFailed),
        (b"SSH-2.0-OpenSSH_9.6\r\n", FetchFailed),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", FetchFailed),
        (b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n", FetchFailed),
        (http_response(b"", "Content-Length: 100001"), ImageTooLarge),
        (http_response(b"", f"Content-Length: {10**30}"), ImageTooLarge),
        (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(100_001), ImageTooLarge),
        (http_response(b"30d41\r\n" + bytes(200_001) + b"\r\n0\r\n\r\n", CHUNKED), ImageTooLarge),
    ],
)
def test_fetch_rejects_incomplete_encoded_and_too_large_files(secure, fetcher, response, error):
    secure.responses["/b.png"] = response
    with pytest.raises(error):
        fetcher.fetch("https://images.example.com/b.png")


@pytest.mark.parametrize(
    "response",
    [
        http_response(FILE),
        http_response(FILE + b"more", f"Content-Length: {len(FILE)}"),
        http_response(FILE, "Content-Length: many"),
        b"HTTP/1.0 200 OK\r\n\r\n" + FILE,
        http_response(
            b"1f40;x=y\r\n" + FILE + b"\r\n0\r\nT: x\r\n\r\n", CHUNKED, "Content-Length: 3"
        ),
        b"HTTP/1.1 100 Continue\r\n\r\n" + http_response(FILE),
    ],
)
def test_fetch_accepts_complete_files_of_any_framing(secure, fetcher, response):
    secure.responses["/b.png"] = response
    assert fetcher.fetch("https://images.example.com/b.png") == FILE


def test_fetch_accepts_a_file_of_exactly_the_allowed_size(internet, secure):
    url = "https://images.example.com/b.png"
    for response in (http_response(FILE), b"HTTP/1.1 200 OK\r\n\r\n" + FILE):
        secure.responses["/b.png"] = response
        assert internet.fetcher(max_bytes=len(FILE)).fetch(url) == FILE
        with pytest.raises(ImageTooLarge, match=f"more than the allowed {len(FILE) - 1} bytes"):
            internet.fetcher(max_bytes=len(FILE) - 1).fetch(url)


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (OK + b"\r\n", bytes(65_536)),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(65_536) + b"\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", bytes(65_536)),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", b"Trailer: x\r\n" * 5000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 5000),
    ],
    ids=["body", "chunks", "chunk of -1", "trailers", "100 Continue"],
)
def test_fetch_stops_reading_an_endless_response(internet, secure, start, again):
    secure.responses["/b.png"] = secure.drip(start, again, seconds=0)
    with pytest.raises(ImageTooLarge):
        internet.fetcher(seconds=60).fetch("https://images.example.com/b.png")


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (b"", b""),
        (b"HTTP/1.1 20", b"0"),
        (OK, b"X: a\r\n"[:1]),
        (OK + b"Content-Length: 5000\r\n\r\n", b"a"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (OK + b"\r\n", b"a"),
    ],
    ids=["nothing", "status", "headers", "body", "chunks", "body without length"],
)
def test_fetch_times_out_for_a_host_that_sends_single_bytes(internet, secure, start, again):
    secure.responses["/b.png"] = secure.drip(start, again)
    start_time = time.monotonic()
    with pytest.raises(FetchTimedOut, match=r"within 0.3 s"):
        internet.fetcher(seconds=0.3).fetch("https://images.example.com/b.png")
    assert 0.3 <= time.monotonic() - start_time < 8


def test_fetch_times_out_if_the_resolver_hangs(internet, secure):
    resume = threading.Event()
    internet.names["images.example.com"] = lambda: resume.wait(10) and [ADDRESS]
    start_time = time.monotonic()
    with pytest.raises(FetchTimedOut):
        internet.fetcher(seconds=0.2).fetch(URL)
    assert time.monotonic() - start_time < 8
    resume.set()
    assert internet.connected == []


def test_fetch_times_out_if_the_tls_handshake_hangs(internet):
    internet.plain.responses["/a.png"] = b""
    # A server without TLS waits for the end of the request, which never arrives.
    fetcher = internet.fetcher("images.example.com:8080", seconds=0.3)
    start_time = time.monotonic()
    with pytest.raises(FetchTimedOut):
        fetcher.fetch("https://images.example.com:8080/a.png")
    assert time.monotonic() - start_time < 8
