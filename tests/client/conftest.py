"""A service that says what a test tells it to, and the real one."""

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner
from emotions import EmotionClient
from emotions.cli import main

from testbed.service import running_service


@dataclass
class Answer:
    status: int = 200
    body: object = field(default_factory=dict)  # bytes, or what becomes JSON
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[], object] | None = None  # done first, as waiting is


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


HANG_UP = Answer(status=0)


def problem(status, name, detail="why", **headers):
    document = {"type": f"urn:emotion:problem:{name}", "title": name, "status": status}
    document |= {"detail": detail, "request_id": "r1"}
    headers = {"Content-Type": "application/problem+json"} | {
        key.replace("_", "-"): text for key, text in headers.items()
    }
    return Answer(status, document, headers)


FACE = {
    "face_id": 1,
    "box": {"x1": 1.5, "y1": 2.0, "x2": 30.0, "y2": 40.0},
    "detection_score": 0.9,
    "dominant": "anger",
    "emotions": {"anger": 0.7, "neutral": 0.3},
    "a member from the future": 1,
}
IMAGE = {
    "id": 7,
    "file_name": "a.jpg",
    "threshold": 0.5,
    "created_at": "2026-05-04T12:00:00.5Z",
    "model": {"name": "net", "version": "1.0", "sha256": "0"},
    "detector": "haar",
    "width": 300,
    "height": 200,
    "dropped": {},
    "timings_ms": {"decode": 1.5},
    "faces": [FACE],
    "another": {"from": "the future"},
}


class Scripted:
    """Answers requests in their order, the last answer again and again."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [Answer(201, IMAGE)]
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self):
                scripted.take(self)

            do_GET = do_POST = do_DELETE = answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        # The interval is what closing takes.
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def take(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        with self._lock:
            headers = dict(handler.headers)
            self.requests.append(Request(handler.command, handler.path, headers, body))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer.before:
            answer.before()
        if answer is HANG_UP:
            handler.close_connection = True
            handler.connection.close()
            return
        is_bytes = isinstance(answer.body, bytes)
        data = answer.body if is_bytes else json.dumps(answer.body).encode()
        handler.send_response(answer.status)
        for name, text in {"Content-Type": "application/json", **answer.headers}.items():
            handler.send_header(name, text)
        handler.send_header("Content-Length", str(len(data)))
        with contextlib.suppress(ConnectionError):  # of a client that was interrupted
            handler.end_headers()
            handler.wfile.write(data)

    def keys(self):
        """The Idempotency-Keys of the requests, in their order."""
        return [request.headers.get("Idempotency-Key") for request in self.requests]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def scripted(monkeypatch):
    from emotions import transport

    monkeypatch.setattr(transport, "FIRST_PAUSE", 0.001)
    server = Scripted()
    yield server
    server.close()


@pytest.fixture
def client(scripted):
    with EmotionClient(scripted.url) as made:
        yield made


@pytest.fixture(scope="package")
def service(tmp_path_factory):
    """The real service's URL."""
    with running_service(tmp_path_factory.mktemp("service")) as url:
        yield url


@pytest.fixture
def run(service):
    def invoke(*arguments, **more):
        return CliRunner().invoke(main, ["--server", service, *map(str, arguments)], **more)

    return invoke
