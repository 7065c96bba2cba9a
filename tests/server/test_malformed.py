"""Malformed HTTP requests: responses and log records."""

import json

import pytest

from testbed.service import running_service
from tests.server.raw import HEALTH, HOST, POST, ask, status

pytestmark = pytest.mark.weights
SECRET = b"emo_secret-of-the-client"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """(URL, log file)."""
    folder = tmp_path_factory.mktemp("service")
    with running_service(folder, EMOTION_WORKERS="1", EMOTION_ALLOW_ANONYMOUS="true") as url:
        yield url, folder / "service.log"


CASES = {
    "header without a colon": (400, HEALTH + b"Authorization Bearer " + SECRET + b"\r\n\r\n"),
    "space in the target": (400, b"GET /" + SECRET + b" x.jpg HTTP/1.1\r\n" + HOST + b"\r\n"),
    "space in a header's name": (400, HEALTH + SECRET + b" : a\r\n\r\n"),
    "control character": (400, HEALTH + b"X: " + SECRET + b"\x00\r\n\r\n"),
    "folded header": (400, HEALTH + b"X: a\r\n " + SECRET + b"\r\n\r\n"),
    "two hosts": (400, HEALTH + b"Host: " + SECRET + b"\r\n\r\n"),
    "bare line feeds": (400, b"GET /" + SECRET + b" HTTP/1.1\nHost: a\n\n"),
    "lower-case method": (400, b"get /" + SECRET + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
    "no version": (400, b"GET /" + SECRET + b"\r\n" + HOST + b"\r\n"),
    "HTTP/2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01" + SECRET + b"\r\n\r\n"),
    "percent": (400, b"GET /%zz" + SECRET + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
    "percent at the end": (400, b"GET /?file_name=" + SECRET + b"% HTTP/1.1\r\n" + HOST + b"\r\n"),
    "long target": (414, b"GET /" + SECRET + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
    "long header": (431, HEALTH + b"X: " + SECRET + b"a" * 9000 + b"\r\n\r\n"),
    "endless header": (431, HEALTH + b"X: " + SECRET + b"a" * 70_000),
    "many headers": (431, HEALTH + b"X: a\r\n" * 200 + b"\r\n"),
    "expectation": (417, POST + b"Expect: " + SECRET + b"\r\n\r\n"),
    "two lengths": (400, POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    "negative length": (400, POST + b"Content-Length: -1\r\n\r\n"),
    "length of text": (400, POST + b"Content-Length: " + SECRET + b"\r\n\r\n"),
    "length of 5,000 digits": (400, POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"),
    "length beyond the limit": (413, POST + b"Content-Length: 99999999999\r\n\r\n"),
    "both": (400, CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n"),
    "unknown coding": (400, POST + b"Transfer-Encoding: " + SECRET + b"\r\n\r\n"),
    "compressed": (400, POST + b"Transfer-Encoding: gzip\r\n\r\n"),
    "chunks in HTTP/1.0": (400, CHUNKED.replace(b"1.1", b"1.0") + b"\r\n0\r\n\r\n"),
    "chunk size": (400, CHUNKED + b"\r\n" + SECRET + b"\r\nhello\r\n0\r\n\r\n"),
    "negative chunk": (400, CHUNKED + b"\r\n-5\r\nhello\r\n0\r\n\r\n"),
    "chunk longer than its size": (400, CHUNKED + b"\r\n5\r\nhello" + SECRET + b"\r\n0\r\n\r\n"),
    "chunk extension": (400, CHUNKED + b"\r\n5;\x01" + SECRET + b"\r\nhello\r\n0\r\n\r\n"),
    "chunk beyond the limit": (413, CHUNKED + b"\r\nFFFFFFFF\r\n" + SECRET),
    "tiny chunks": (400, CHUNKED + b"\r\n" + b"1\r\nx\r\n" * 50_000),
    "trailer": (400, CHUNKED + b"\r\n0\r\n" + SECRET + b"\r\n\r\n"),
}
CUT = {
    "head": HEALTH + b"X: " + SECRET,
    "body": POST + b"Content-Length: 100\r\n\r\n" + SECRET,
    "chunk": CHUNKED + b"\r\nff\r\n" + SECRET,
    "trailers": CHUNKED + b"\r\n0\r\nX: " + SECRET,
}


def check_refusal(service, response, expected, log_start):
    """Check the problem document and the log record, which must contain no data of the request."""
    _, log = service
    assert status(response) == expected
    head, _, body = response.partition(b"\r\n\r\n")
    assert b"Content-Type: application/problem+json" in head
    assert json.loads(body)["status"] == expected
    assert SECRET not in response
    text = log.read_text()[log_start:]
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["message"] for line in lines] == ["request refused"]
    assert lines[0]["status"] == expected
    assert lines[0]["kind"]
    assert SECRET.decode() not in text
    assert "127.0.0.1" not in text
    assert "Traceback" not in text


@pytest.mark.parametrize(("expected", "data"), CASES.values(), ids=CASES)
def test_malformed_request_is_rejected_and_logged_without_its_data(service, expected, data):
    log_start = len(service[1].read_text())
    check_refusal(service, ask(service[0], data), expected, log_start)


@pytest.mark.parametrize("data", CUT.values(), ids=CUT)
def test_truncated_request_returns_400(service, data):
    log_start = len(service[1].read_text())
    check_refusal(service, ask(service[0], data, end=True), 400, log_start)


def test_bytes_after_a_request_are_the_next_request(service):
    url, _ = service
    closing = HEALTH + b"Connection: close\r\n\r\n"
    assert ask(url, (HEALTH + b"\r\n") * 3 + closing).count(b"200 OK") == 4
    body = POST + b"Content-Length: 2\r\n\r\nhello\r\n\r\n"
    responses = ask(url, body)
    assert responses.count(b"HTTP/1.1 415") == 1
    assert responses.count(b"HTTP/1.1 400") == 1
    chunked = CHUNKED + b"\r\n2\r\nhi\r\n0\r\n\r\n"
    responses = ask(url, chunked + closing)
    assert responses.count(b"HTTP/1.1 415") == 1
    assert responses.count(b"200 OK") == 1


def test_client_that_expects_100_continue_receives_it(service):
    url, _ = service
    from tests.server.raw import connect

    head = POST + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    with connect(url, head) as connection:
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hi")
        assert status(connection.recv(4096)) == 415
    assert status(ask(url, head.replace(b": 2", b": 99999999"))) == 413
    assert ask(url, head + b"hi").count(b"HTTP/1.1") == 1
