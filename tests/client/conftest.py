"""Fixtures: a stub server with scripted responses, and the real service."""

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from emotions import EmotionClient
from emotions.cli import main

from testbed.service import running_service

PHOTO = Path(__file__).parent.parent.parent / "docs" / "astronaut.jpg"


@dataclass
class Response:
    status: int = 200
    body: object = field(default_factory=dict)  # bytes, or an object to encode as JSON
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[], object] | None = None  # called before the response is sent


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


NO_RESPONSE = Response(status=0)


def problem(status, name, detail="why", **headers):
    document = {"type": f"urn:emotion:problem:{name}", "title": name, "status": status}
    document |= {"detail": detail, "request_id": "r1"}
    headers = {"Content-Type": "application/problem+json"} | {
        key.replace("_", "-"): text for key, text in headers.items()
    }
    return Response(status, document, headers)


def unknown_option(field, name="unknown-model"):
    """Return the response for an unknown or invalid option."""
    response = problem(422, name, f"unknown {field}")
    response.body["errors"] = [{"field": field, "message": "unknown"}]
    return response


FACE = {
    "face_id": 1,
    "box": {"x1": 1.5, "y1": 2.0, "x2": 30.0, "y2": 40.0},
    "detection_score": 0.9,
    "dominant": "anger",
    "emotions": {"anger": 0.7, "neutral": 0.3},
    "a member from the future": 1,
}
ANALYSIS = {
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
    """A stub server that sends `responses` in order and repeats the last one.

    A path in `listings` always has the same response. `listed` has the paths of these requests,
    which are not in `requests`. By default, no detector is recommended.
    """

    def __init__(self) -> None:
        self.responses: list[Response] = [Response(201, ANALYSIS)]
        self.requests: list[Request] = []
        self.listings: dict[str, Response] = {"/v1/detectors": Response(200, {"detectors": []})}
        self.listed: list[str] = []
        self._lock = threading.Lock()
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def respond(self):
                scripted.respond(self)

            do_GET = do_POST = do_DELETE = respond

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        # 0.01 s is the poll interval, which close() waits for.
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def respond(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        with self._lock:
            headers = dict(handler.headers)
            if handler.path in self.listings:
                self.listed.append(handler.path)
                response = self.listings[handler.path]
            else:
                self.requests.append(Request(handler.command, handler.path, headers, body))
                response = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
        if response.before:
            response.before()
        if response is NO_RESPONSE:
            handler.close_connection = True
            handler.connection.close()
            return
        is_bytes = isinstance(response.body, bytes)
        data = response.body if is_bytes else json.dumps(response.body).encode()
        handler.send_response(response.status)
        for name, text in {"Content-Type": "application/json", **response.headers}.items():
            handler.send_header(name, text)
        handler.send_header("Content-Length", str(len(data)))
        with contextlib.suppress(ConnectionError):  # the client was interrupted
            handler.end_headers()
            handler.wfile.write(data)

    def idempotency_keys(self):
        """The Idempotency-Keys of the requests, in order."""
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
    with EmotionClient(scripted.url) as client:
        yield client


@pytest.fixture(scope="package")
def service(tmp_path_factory):
    """The URL of the real service."""
    with running_service(tmp_path_factory.mktemp("service")) as url:
        yield url


@pytest.fixture
def run(service):
    """Run the command `emotions` with the real service."""

    def invoke(*arguments, **options):
        return CliRunner().invoke(main, ["--server", service, *map(str, arguments)], **options)

    return invoke


@pytest.fixture
def run_stub(scripted):
    """Run the command `emotions` with the stub server."""
    return lambda *arguments: CliRunner().invoke(
        main, ["--server", scripted.url, *map(str, arguments)]
    )


@pytest.fixture
def folder(tmp_path):
    """A folder with an image, a subfolder with another image, and a text file."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "a b.jpg").write_bytes(PHOTO.read_bytes())
    (tmp_path / "in" / "sub" / "a b.jpg").write_bytes(PHOTO.read_bytes())
    (tmp_path / "in" / "notes.txt").write_text("no image")
    return tmp_path / "in"
