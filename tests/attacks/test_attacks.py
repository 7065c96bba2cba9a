"""The attacks themselves: their bars notice a service that is slow, large or careless."""

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

HELD = Result("a", 1200, "measured", "bar", True)
BROKEN = Result("b", 1, "measured", "bar", False)
SKIPPED = Result("c", 0, "no root", "", None)


def test_the_table_says_what_was_held():
    lines = markdown([HELD, BROKEN, SKIPPED]).splitlines()
    assert lines[0] == f"| {' | '.join(HEAD)} |"
    assert lines[2:] == [
        "| a | 1,200 | measured | bar | held |",
        "| b | 1 | measured | bar | BROKEN |",
        "| c |  | no root |  | not run |",
    ]
    assert counted([503, 201, 0, 201]) == "1 × no answer, 2 × 201, 1 × 503"


@pytest.mark.parametrize(("ci", "fails"), [("", [BROKEN]), ("true", [BROKEN, SKIPPED])])
def test_what_fails_the_run(monkeypatch, ci, fails):
    monkeypatch.setenv("CI", ci)
    assert [it for it in (HELD, BROKEN, SKIPPED) if command.failed(it)] == fails


def outcome(attack, seconds=60):
    return list(command.run("it", attack, quick=True, end=time.monotonic() + seconds))


def test_an_attack_that_cannot_run_fails_or_does_not_end():
    def skips(quick):
        raise Skip("no root")
        yield

    def breaks(quick):
        yield HELD
        raise RuntimeError("the service ended")

    def hangs(quick):
        time.sleep(30)
        yield HELD

    assert outcome(skips) == [Result("it", 0, "no root", "", None)]
    assert outcome(breaks) == [
        HELD,
        Result("it", 0, "ended with RuntimeError: the service ended", "", False),
    ]
    (result,) = outcome(hangs, seconds=1.5)
    assert (result.held, "TimeoutError" in result.measured) == (False, True)
    (result,) = outcome(hangs, seconds=0)
    assert result.held is False


@pytest.mark.parametrize(("results", "status"), [([HELD], 0), ([HELD, BROKEN], 1)])
def test_the_command_prints_and_writes_the_table(monkeypatch, tmp_path, capsys, results, status):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- attacks -->\nold\n<!-- /attacks -->\nafter\n")
    monkeypatch.setattr(command, "PAGE", page)
    monkeypatch.setattr(command, "ATTACKS", {"some": lambda quick: iter(results)})
    monkeypatch.setattr(sys, "argv", ["attacks", "--write"])
    if status:
        with pytest.raises(SystemExit, match="missed: b"):
            command.main()
    else:
        command.main()
    assert capsys.readouterr().out == f"{markdown(results)}\n"
    assert page.read_text() == (
        f"before\n<!-- attacks -->\n{markdown(results)}\n<!-- /attacks -->\nafter\n"
    )


def test_the_page_has_room_for_the_table_and_names_the_command():
    page = (ROOT / "docs" / "hostile-input.md").read_text("utf-8")
    assert page.count("<!-- attacks -->") == page.count("<!-- /attacks -->") == 1
    assert "make attack" in page
    assert "python -m attacks --quick" in (ROOT / ".ci" / "run").read_text("utf-8")


def test_the_images_are_small_files_of_many_pixels_and_allowed():
    assert len(images.wallpaper()) < 200_000
    pixels = cv2.imdecode(np.frombuffer(images.wallpaper(), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert pixels.shape == (4984, 4984)
    assert Settings().max_pixels >= images.SIDE**2
    part = images.noise(700)
    assert 100 * len(part) < Settings().max_image_bytes
    drawn = cv2.imencode(".png", cv2.imdecode(np.frombuffer(part, np.uint8), 1))[1]
    assert 100 * len(drawn) > 130_000_000


def test_the_cascade_finds_the_faces_of_the_wallpaper():
    pixels = cv2.imdecode(
        np.frombuffer(images.wallpaper(5 * images.FACE), np.uint8), cv2.IMREAD_GRAYSCALE
    )
    data = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
    assert len(cv2.CascadeClassifier(str(data)).detectMultiScale(pixels, 1.1, 3)) >= 9


class Stub:
    """A service that answers as it is told to. `slow` is (method, path, seconds); it is slow once
    it was attacked, that is after `calm` requests. A list of statuses is used up from its start,
    the last one stays. `stored` is the number of images in a list."""

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

    def workers(self):
        return []


@pytest.fixture
def stubbed(monkeypatch, tmp_path):
    """Puts a Stub in the place of the service, for all attacks."""
    started = []

    def use(**knobs):
        stub = Stub(**knobs)
        threading.Thread(target=stub.server.serve_forever, daemon=True).start()
        started.append(stub.server)
        it = target.Target(tmp_path, stub)
        monkeypatch.setattr(target.Target, "workers_live", stub.lives)
        monkeypatch.setattr(target.Target, "peak_mb", lambda self: stub.peak)
        monkeypatch.setattr(target.Target, "rests", lambda self, most_seconds: True)

        @contextlib.contextmanager
        def fake_target(**environment):
            yield it

        for module in (access, connections, locks, memory, storage, work):
            monkeypatch.setattr(module, "target", fake_target)
        return it

    yield use
    for server in started:
        server.shutdown()
        server.server_close()


POST = ("POST", "/v1/images")


@pytest.mark.parametrize(
    ("knobs", "held"),
    [
        ({}, True),
        ({"slow": ("GET", "/healthz", 0.6), "calm": 13}, False),
        ({"slow": (*POST, 0.3), "calm": 13}, False),
        ({"statuses": {("GET", "/healthz"): 503}}, False),
    ],
)
def test_unread_answers_are_judged(stubbed, monkeypatch, knobs, held):
    monkeypatch.setattr(connections, "UNREAD", 5)
    monkeypatch.setattr(connections, "SLOWDOWN", 20)  # a stub's posts take no time
    stubbed(**knobs)
    (result,) = connections.unread_answers(True)
    assert result.held is held, result


@pytest.mark.parametrize(
    ("knobs", "held"),
    [
        ({"statuses": {POST: 400}}, True),
        ({"statuses": {POST: 400}, "peak": 601.0}, False),
        ({"statuses": {POST: 400}, "lives": False}, False),
        ({"statuses": {POST: 500}}, False),
        ({}, False),
    ],
)
def test_memory_is_judged(stubbed, monkeypatch, knobs, held):
    monkeypatch.setattr(memory, "_JSON_BYTES", 2000)
    stubbed(**knobs)
    (result,) = memory.large_json(True)
    assert result.held is held, result


@pytest.mark.parametrize(("cpu", "held"), [(5.5, True), (6.5, False)])
def test_cpu_time_is_judged(stubbed, monkeypatch, cpu, held):
    stubbed()
    monkeypatch.setattr(
        target.Target, "normal_post", lambda self: target.Normal(seconds=60.0, cpu_seconds=0.0)
    )
    used = itertools.cycle([10.0, 10.0 + cpu])
    monkeypatch.setattr(target.Target, "cpu_seconds", lambda self: next(used))
    assert {result.held for result in work.costly_images(True)} == {held}


def refusing(posts=locks.POSTS, afterwards=201):
    """What posts get: one is stored, then the database is locked."""
    return [201, *[503] * posts, *[201] * (locks.POSTS - posts), afterwards]


ERASE = ("DELETE", "/v1/images/1")


@pytest.mark.parametrize(
    ("knobs", "held"),
    [
        ({"statuses": {POST: refusing(), ERASE: 503}, "stored": 1}, True),
        ({"statuses": {POST: refusing(), ERASE: 503}, "stored": 2}, False),
        ({"statuses": {POST: refusing(posts=5), ERASE: 503}, "stored": 1}, False),
        ({"statuses": {POST: refusing(), ERASE: 204}, "stored": 1}, False),
        ({"statuses": {POST: refusing(afterwards=503), ERASE: 503}, "stored": 1}, False),
        (
            {"statuses": {POST: refusing(), ERASE: 503}, "stored": 1, "slow": (*ERASE, 0.5)},
            False,
        ),
    ],
)
def test_answers_under_lock_are_judged(stubbed, monkeypatch, knobs, held):
    monkeypatch.setattr(locks, "ANSWER_SECONDS", 0.4)

    @contextlib.contextmanager
    def lock(*_):
        yield

    monkeypatch.setattr(locks, "_held", lock)
    stubbed(**knobs)
    (result,) = locks.locked_sqlite(True)
    assert result.held is held, result


@pytest.mark.parametrize(
    ("files", "stored", "status", "found"),
    [(0, 0, 200, (0, 0)), (3, 1, 200, (2, 0)), (0, 1, 404, (0, 1)), (1, 1, 200, (0, 0))],
)
def test_files_and_rows_are_compared(stubbed, monkeypatch, tmp_path, files, stored, status, found):
    monkeypatch.setattr(storage, "_PATIENCE_SECONDS", 0.1)
    for number in range(files):
        (tmp_path / "ab").mkdir(exist_ok=True)
        (tmp_path / "ab" / str(number)).write_bytes(b"a picture")
    it = stubbed(statuses={("GET", "/v1/images/1/picture"): status}, stored=stored)
    assert storage.settled(it, tmp_path / "ab") == found


@pytest.mark.parametrize("status", [200, 401])
def test_proxies_are_judged(stubbed, monkeypatch, tmp_path, status):
    everything = [
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
        behind = Stub(statuses=dict.fromkeys([*everything, POST], 401) | {everything[0]: status})
        threading.Thread(target=behind.server.serve_forever, daemon=True).start()
        yield behind.server.server_address
        behind.server.shutdown()
        behind.server.server_close()

    monkeypatch.setattr(access, "_nginx", proxy)
    monkeypatch.setattr(access, "find_nginx", lambda: "nginx")
    assert {result.held for result in access.without_key(True)} == {status == 401}


@pytest.mark.parametrize("gone", [True, False])
def test_bytes_that_stay_after_an_erasure_are_found(stubbed, monkeypatch, tmp_path, gone):
    monkeypatch.setattr(storage, "ERASED_SECONDS", 0.5)
    stubbed()
    log = tmp_path / "service.db-wal"
    log.write_bytes(b"x" if gone else b"..attack-marker-7f3a91-3.jpg..")

    @contextlib.contextmanager
    def reader(it):
        yield

    monkeypatch.setattr(storage, "_transaction", reader)
    (result,) = storage.erased_bytes(True)
    assert result.held is gone, result
