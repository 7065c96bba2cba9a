"""The attacks detect a stub service that is slow, uses too much memory or keeps data."""

import contextlib
import http.server
import itertools
import json
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.settings import ROOT, Settings
from attacks import __main__ as command
from attacks import access, connections, images, locks, memory, storage, target, work
from attacks.result import HEAD, Result, Skip, counted, markdown

pytestmark = pytest.mark.serial

PASSED = Result("a", 1200, "measured", "criterion", True)
FAILED = Result("b", 1, "measured", "criterion", False)
SKIPPED = Result("c", 0, "no root", "", None)


def test_markdown_has_a_row_per_result():
    lines = markdown([PASSED, FAILED, SKIPPED]).splitlines()
    assert lines[0] == f"| {' | '.join(HEAD)} |"
    assert lines[2:] == [
        "| a | 1,200 | measured | criterion | passed |",
        "| b | 1 | measured | criterion | FAILED |",
        "| c |  | no root |  | not run |",
    ]
    assert counted([503, 201, 0, 201]) == "1 × no answer, 2 × 201, 1 × 503"


@pytest.mark.parametrize(("ci", "fails"), [("", [FAILED]), ("true", [FAILED, SKIPPED])])
def test_failed_includes_skipped_attacks_in_ci(monkeypatch, ci, fails):
    monkeypatch.setenv("CI", ci)
    assert [each for each in (PASSED, FAILED, SKIPPED) if command.failed(each)] == fails


def results_of(attack, seconds=60):
    return list(command.run("it", attack, quick=True, end=time.monotonic() + seconds))


def test_run_reports_skipped_failing_and_hanging_attacks():
    def skips(quick):
        raise Skip("no root")
        yield

    def breaks(quick):
        yield PASSED
        raise RuntimeError("the service ended")

    def hangs(quick):
        time.sleep(30)
        yield PASSED

    assert results_of(skips) == [Result("it", 0, "no root", "", None)]
    assert results_of(breaks) == [
        PASSED,
        Result("it", 0, "ended with RuntimeError: the service ended", "", False),
    ]
    (result,) = results_of(hangs, seconds=1.5)
    assert (result.passed, "TimeoutError" in result.measured) == (False, True)
    (result,) = results_of(hangs, seconds=0)
    assert result.passed is False


@pytest.mark.parametrize(("results", "status"), [([PASSED], 0), ([PASSED, FAILED], 1)])
def test_command_prints_and_writes_the_table(monkeypatch, tmp_path, capsys, results, status):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- attacks -->\nold\n<!-- /attacks -->\nafter\n")
    monkeypatch.setattr(command, "PAGE", page)
    monkeypatch.setattr(command, "ATTACKS", {"some": lambda quick: iter(results)})
    monkeypatch.setattr(sys, "argv", ["attacks", "--write"])
    if status:
        with pytest.raises(SystemExit, match="failed: b"):
            command.main()
    else:
        command.main()
    assert capsys.readouterr().out == f"{markdown(results)}\n"
    assert page.read_text() == (
        f"before\n<!-- attacks -->\n{markdown(results)}\n<!-- /attacks -->\nafter\n"
    )


def test_page_has_the_block_and_the_command():
    page = (ROOT / "docs" / "hostile-input.md").read_text("utf-8")
    assert page.count("<!-- attacks -->") == page.count("<!-- /attacks -->") == 1
    assert f"| {' | '.join(HEAD)} |" in page
    assert "make attack" in page
    assert "python -m attacks --quick" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_images_are_small_allowed_files_with_many_pixels():
    assert len(images.tiled_faces()) < 200_000
    pixels = cv2.imdecode(np.frombuffer(images.tiled_faces(), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert pixels.shape == (4984, 4984)
    assert Settings().max_pixels >= images.SIDE**2
    sample = images.noise(700)
    assert 100 * len(sample) < Settings().max_image_bytes
    as_png = cv2.imencode(".png", cv2.imdecode(np.frombuffer(sample, np.uint8), 1))[1]
    assert 100 * len(as_png) > 130_000_000


def test_cascade_finds_the_tiled_faces():
    pixels = cv2.imdecode(
        np.frombuffer(images.tiled_faces(5 * images.FACE), np.uint8), cv2.IMREAD_GRAYSCALE
    )
    data = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
    assert len(cv2.CascadeClassifier(str(data)).detectMultiScale(pixels, 1.1, 3)) >= 9


class Stub:
    """A service with configurable behaviour.

    `slow` is (method, path, seconds) and takes effect after `calm` requests, during the attack. A
    list of statuses is consumed from the start; the last one remains. `stored` is the number of
    images in a list.
    """

    def __init__(self, statuses=None, slow=None, calm=0, peak=100.0, lives=True, stored=0):
        self.statuses, self.slow, self.calm = statuses or {}, slow, calm
        self.body = json.dumps({"images": [{"id": 1}] * stored, "next_cursor": None}).encode()
        self.peak, self.lives, self.requests = peak, lives, 0
        stub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                stub.requests += 1
                length = int(self.headers.get("Content-Length", 0))
                self.rfile.read(length)
                path = self.path.partition("?")[0]
                if stub.slow and stub.slow[:2] == (self.command, path):
                    time.sleep(stub.slow[2] if stub.requests > stub.calm else 0)
                default = {"POST": 201, "GET": 200, "DELETE": 204}[self.command]
                status = stub.statuses.get((self.command, path), default)
                if isinstance(status, list):
                    status = status.pop(0) if len(status) > 1 else status[0]
                self.send_response(status)
                self.send_header("Content-Length", str(len(stub.body)))
                self.end_headers()
                self.wfile.write(stub.body)

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 512
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def start(self):
        """Answer requests in a thread. `shutdown` of the server waits for up to 20 ms."""
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def workers(self):
        return []


@pytest.fixture
def stubbed(monkeypatch, tmp_path):
    """Replace the service by a Stub in all attacks."""
    servers = []

    def use(**behaviour):
        stub = Stub(**behaviour)
        stub.start()
        servers.append(stub.server)
        service = target.Target(tmp_path, stub)
        monkeypatch.setattr(target.Target, "workers_live", stub.lives)
        monkeypatch.setattr(target.Target, "peak_mb", lambda self: stub.peak)
        monkeypatch.setattr(target.Target, "wait_until_idle", lambda self, max_seconds: True)

        @contextlib.contextmanager
        def fake_target(**environment):
            yield service

        for module in (access, connections, locks, memory, storage, work):
            monkeypatch.setattr(module, "target", fake_target)
        return service

    yield use
    for server in servers:
        server.shutdown()
        server.server_close()


POST = ("POST", "/v1/images")


@pytest.mark.parametrize(
    ("behaviour", "passes"),
    [
        ({}, True),
        ({"slow": ("GET", "/healthz", 0.6), "calm": 13}, False),
        ({"slow": (*POST, 0.3), "calm": 13}, False),
        ({"statuses": {("GET", "/healthz"): 503}}, False),
    ],
)
def test_unread_answers_detects_slow_responses(stubbed, monkeypatch, behaviour, passes):
    monkeypatch.setattr(connections, "UNREAD", 5)
    monkeypatch.setattr(connections, "SLOWDOWN", 20)  # the posts of a stub take almost no time
    stubbed(**behaviour)
    (result,) = connections.unread_answers(True)
    assert result.passed is passes, result


@pytest.mark.parametrize(
    ("behaviour", "passes"),
    [
        ({"statuses": {POST: 400}}, True),
        ({"statuses": {POST: 400}, "peak": 601.0}, False),
        ({"statuses": {POST: 400}, "lives": False}, False),
        ({"statuses": {POST: 500}}, False),
        ({}, False),
    ],
)
def test_large_json_detects_memory_and_crashes(stubbed, monkeypatch, behaviour, passes):
    monkeypatch.setattr(memory, "_JSON_BYTES", 2000)
    stubbed(**behaviour)
    (result,) = memory.large_json(True)
    assert result.passed is passes, result


@pytest.mark.parametrize(("cpu", "passes"), [(5.5, True), (6.5, False)])
def test_costly_images_detects_cpu_time(stubbed, monkeypatch, cpu, passes):
    stubbed()
    monkeypatch.setattr(
        target.Target, "baseline_post", lambda self: target.Baseline(seconds=60.0, cpu_seconds=0.0)
    )
    used = itertools.cycle([10.0, 10.0 + cpu])
    monkeypatch.setattr(target.Target, "cpu_seconds", lambda self: next(used))
    assert {result.passed for result in work.costly_images(True)} == {passes}


def statuses_under_lock(posts=locks.POSTS, afterwards=201):
    """The statuses of posts: one is stored, then the database is locked."""
    return [201, *[503] * posts, *[201] * (locks.POSTS - posts), afterwards]


ERASE = ("DELETE", "/v1/images/1")


@pytest.mark.parametrize(
    ("behaviour", "passes"),
    [
        ({"statuses": {POST: statuses_under_lock(), ERASE: 503}, "stored": 1}, True),
        ({"statuses": {POST: statuses_under_lock(), ERASE: 503}, "stored": 2}, False),
        ({"statuses": {POST: statuses_under_lock(posts=5), ERASE: 503}, "stored": 1}, False),
        ({"statuses": {POST: statuses_under_lock(), ERASE: 204}, "stored": 1}, False),
        ({"statuses": {POST: statuses_under_lock(afterwards=503), ERASE: 503}, "stored": 1}, False),
        (
            {
                "statuses": {POST: statuses_under_lock(), ERASE: 503},
                "stored": 1,
                "slow": (*ERASE, 0.5),
            },
            False,
        ),
    ],
)
def test_locked_sqlite_detects_wrong_answers(stubbed, monkeypatch, behaviour, passes):
    monkeypatch.setattr(locks, "ANSWER_SECONDS", 0.4)
    monkeypatch.setattr(locks, "LATE_SECONDS", 0)  # a stub writes nothing

    @contextlib.contextmanager
    def lock(*_):
        yield

    monkeypatch.setattr(locks, "_held", lock)
    stubbed(**behaviour)
    (result,) = locks.locked_sqlite(True)
    assert result.passed is passes, result


@pytest.mark.parametrize(
    ("files", "stored", "status", "expected"),
    [(0, 0, 200, (0, 0)), (3, 1, 200, (2, 0)), (0, 1, 404, (0, 1)), (1, 1, 200, (0, 0))],
)
def test_count_orphans_compares_files_and_rows(
    stubbed, monkeypatch, tmp_path, files, stored, status, expected
):
    monkeypatch.setattr(storage, "_CLEAN_UP_SECONDS", 0.1)
    for number in range(files):
        (tmp_path / "ab").mkdir(exist_ok=True)
        (tmp_path / "ab" / str(number)).write_bytes(b"an image")
    service = stubbed(statuses={("GET", "/v1/images/1/picture"): status}, stored=stored)
    assert storage.count_orphans(service, tmp_path / "ab") == expected


@pytest.mark.parametrize("status", [200, 401])
def test_without_key_detects_an_open_proxy(stubbed, monkeypatch, tmp_path, status):
    requests = [
        ("GET", "/v1/images"),
        ("GET", "/v1/images/1"),
        ("GET", "/v1/faces"),
        ("POST", "/index"),
        ("DELETE", "/v1/images/1"),
        ("DELETE", "/v1/images"),
    ]
    stubbed()

    @contextlib.contextmanager
    def proxy(*_):
        behind = Stub(statuses=dict.fromkeys([*requests, POST], 401) | {requests[0]: status})
        behind.start()
        yield behind.server.server_address
        behind.server.shutdown()
        behind.server.server_close()

    monkeypatch.setattr(access, "_nginx", proxy)
    monkeypatch.setattr(access, "find_nginx", lambda: "nginx")
    assert {result.passed for result in access.without_key(True)} == {status == 401}


@pytest.mark.parametrize("gone", [True, False])
def test_erased_bytes_detects_remaining_bytes(stubbed, monkeypatch, tmp_path, gone):
    monkeypatch.setattr(storage, "DELETED_SECONDS", 0.5)
    stubbed()
    log = tmp_path / "service.db-wal"
    log.write_bytes(b"x" if gone else b"..attack-marker-7f3a91-3.jpg..")

    @contextlib.contextmanager
    def reader(service):
        yield

    monkeypatch.setattr(storage, "_transaction", reader)
    (result,) = storage.deleted_bytes(True)
    assert result.passed is gone, result
