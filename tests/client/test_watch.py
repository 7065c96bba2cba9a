"""Watch sends each image once, across restarts and crashes of the client and the service."""

import os
import sqlite3
import threading
import time

import pytest
from emotions import DeadlineExceeded, EmotionClient, ServiceError, TimedOut
from emotions.types import Analysis
from emotions.watch import FAILED, SENT, STATE_NAME, Watch

from testbed.service import Service
from tests.client.conftest import ANALYSIS, NO_RESPONSE, Response, problem
from tests.conftest import image_file

IMAGE = image_file(20, 20)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


@pytest.fixture
def make_watch(folder):
    """Return a function that closes the last Watch, like the end of a process, and opens one."""
    watches = []

    def make():
        for watch in watches:
            watch.close()
        watches.append(Watch(folder))
        return watches[-1]

    yield make
    for watch in watches:
        watch.close()


@pytest.fixture
def client(scripted):
    """A client without retries."""
    with EmotionClient(scripted.url, retries=0) as client:
        yield client


def scan(watch, client, times=2):
    """Scan `times` times and return the events. The first scan of a file only records it."""
    return [event for _ in range(times) for event in watch.scan(client, workers=2)]


def names(events):
    return [event.name for event in events]


def test_scan_sends_each_image_once_and_skips_other_files(scripted, client, make_watch, folder):
    (folder / "sub").mkdir()
    for name in ("a b.jpg", "ü.PNG", "sub/c.webp", "notes.txt", ".hidden.jpg", "part.jpg.tmp"):
        (folder / name).write_bytes(IMAGE)
    watch = make_watch()
    assert sorted(names(scan(watch, client))) == ["a b.jpg", "sub/c.webp", "ü.PNG"]
    assert scan(watch, client, times=3) == []
    assert len(scripted.requests) == 3
    assert watch.count(SENT) == 3


def test_restart_does_not_send_again(client, make_watch, folder):
    (folder / "a.jpg").write_bytes(IMAGE)
    assert names(scan(make_watch(), client)) == ["a.jpg"]
    (folder / "b.jpg").write_bytes(IMAGE)
    assert names(scan(make_watch(), client)) == ["b.jpg"]


def test_partly_written_file_is_skipped(scripted, client, make_watch, folder):
    watch, path = make_watch(), folder / "a.jpg"
    for length in (5, 10, 20):
        path.write_bytes(IMAGE[:length])
        assert scan(watch, client, times=1) == []
    path.write_bytes(IMAGE)
    assert names(scan(watch, client)) == ["a.jpg"]
    assert IMAGE in scripted.requests[0].body


def test_new_content_is_sent_but_new_mtime_is_not(scripted, client, make_watch, folder):
    watch, path = make_watch(), folder / "a.jpg"
    path.write_bytes(IMAGE)
    scan(watch, client)
    os.utime(path, (1, 1))
    assert scan(watch, client, times=3) == []
    path.write_bytes(image_file(30, 30))
    assert names(scan(watch, client)) == ["a.jpg"]
    assert len(set(scripted.idempotency_keys())) == len(scripted.idempotency_keys()) == 2


def test_idempotency_key_survives_crash_after_request(scripted, client, make_watch, folder):
    (folder / "a.jpg").write_bytes(IMAGE)
    scripted.responses = [NO_RESPONSE]
    watch = make_watch()
    (event,) = scan(watch, client)
    assert event.error is not None
    assert not event.given_up
    # Simulate a crash between the request and the response: a new process sends the same key.
    scripted.responses = [Response(201, ANALYSIS)]
    assert names(scan(make_watch(), client)) == ["a.jpg"]
    assert len(set(scripted.idempotency_keys())) == 1


def test_scan_stops_after_transient_error(scripted, client, make_watch, folder):
    for number in range(10):
        (folder / f"{number}.jpg").write_bytes(image_file(20 + number, 20))
    scripted.responses = [problem(503, "store-unavailable")]
    watch = make_watch()
    scan(watch, client)
    assert len(scripted.requests) == 2  # the number of workers
    scripted.responses = [Response(201, ANALYSIS)]
    assert len(names(scan(watch, client, times=1))) == 10


def test_invalid_image_is_given_up_without_stopping_others(scripted, client, make_watch, folder):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (folder / name).write_bytes(IMAGE)
        os.utime(folder / name, (ord(name[0]), 1))
    scripted.responses = [problem(422, "undecodable-image", "cut short"), Response(201, ANALYSIS)]
    watch = make_watch()
    events = scan(watch, client, times=4)
    assert sorted(names(events)) == ["a.jpg", "b.jpg", "c.jpg"]
    (failed,) = [event for event in events if event.given_up]
    assert str(failed.error) == "cut short"
    assert (watch.count(SENT), watch.count(FAILED)) == (2, 1)
    assert scan(make_watch(), client, times=3) == []  # not even after a restart


@pytest.mark.parametrize("error", [ServiceError(500, {}), DeadlineExceeded(503, {}), TimedOut()])
def test_failing_image_is_retried_with_backoff_without_blocking_others(
    make_watch, folder, monkeypatch, error
):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (folder / name).write_bytes(IMAGE)
        os.utime(folder / name, (ord(name[0]), 1))
    clock = [0.0]
    monkeypatch.setattr("emotions.watch.time.monotonic", lambda: clock[0])
    keys = []

    class Failing:
        def analyse(self, _, *, file_name, idempotency_key):
            if file_name == "a.jpg" and len(keys) < 5:
                keys.append(idempotency_key)
                raise error
            return Analysis.read(ANALYSIS)

    watch = make_watch()
    seen = [[event.name for event in watch.scan(Failing(), workers=1)] for _ in range(4)]
    assert seen == [[], ["a.jpg"], ["b.jpg", "c.jpg"], []]
    assert watch.postponed() == 1
    tried = []
    for second in range(100):
        clock[0] = second / 2
        tried += [clock[0] for _ in watch.scan(Failing(), workers=1)]
    assert tried == [1, 3, 7, 15, 31]
    assert len(set(keys)) == 1
    assert watch.count(SENT) == 3
    assert watch.postponed() == 0


def test_image_stored_with_other_options_counts_as_sent(scripted, client, make_watch, folder):
    (folder / "a.jpg").write_bytes(IMAGE)
    scripted.responses = [problem(409, "key-reused")]
    watch = make_watch()
    (event,) = scan(watch, client, times=3)
    assert event.error is None
    assert watch.count(SENT) == 1


def test_removed_file_is_skipped(scripted, client, make_watch, folder):
    watch, path = make_watch(), folder / "a.jpg"
    path.write_bytes(IMAGE)
    scan(watch, client, times=1)
    path.unlink()
    assert scan(watch, client, times=3) == []
    assert scripted.requests == []


def test_files_removed_after_scan_are_skipped(make_watch, folder):
    for name in "abcd":
        (folder / f"{name}.jpg").write_bytes(image_file(20, 20 + ord(name) % 7))

    class Clearing:
        def analyse(self, *_, **__):
            for path in folder.glob("*.jpg"):
                path.unlink()
            return Analysis.read(ANALYSIS)

    watch = make_watch()
    events = [event for _ in range(3) for event in watch.scan(Clearing(), workers=1)]
    assert len(events) == 1


def test_file_changed_after_scan_is_sent_with_new_key(make_watch, folder):
    for name in "ab":
        (folder / f"{name}.jpg").write_bytes(image_file(20, 20 + ord(name) % 7))
        os.utime(folder / f"{name}.jpg", (ord(name), 1))
    sent = {}

    class Rewriting:
        def analyse(self, data, *, file_name, idempotency_key):
            if not sent:
                (folder / "b.jpg").write_bytes(image_file(30, 30))
            assert sent.setdefault(idempotency_key, data) == data  # one image per key
            return Analysis.read(ANALYSIS)

    watch = make_watch()
    assert names(event for _ in range(4) for event in watch.scan(Rewriting(), workers=1)) == [
        "a.jpg",
        "b.jpg",
    ]
    assert list(sent.values()) == [image_file(20, 20 + ord("a") % 7), image_file(30, 30)]


def test_undecodable_file_name_is_sent_once(scripted, client, make_watch, folder):
    path = os.fsencode(folder) + b"/\xff\xfe [b].jpg"
    try:
        with open(path, "wb") as file:  # noqa: PTH123 - a name that is bytes
            file.write(IMAGE)
    except OSError:
        pytest.skip("this file system requires valid UTF-8 names")
    scan(make_watch(), client)
    assert len(scripted.requests) == 1
    assert scan(make_watch(), client, times=3) == []


def test_first_scan_sends_5000_images_once(make_watch, folder):
    for number in range(5000):
        (folder / f"{number}.bmp").write_bytes(IMAGE + str(number).encode())
    keys = []

    class Counting:
        def analyse(self, data, *, file_name, idempotency_key):
            keys.append((file_name, idempotency_key))
            return Analysis.read(ANALYSIS)

    watch = make_watch()
    assert len(scan(watch, Counting())) == 5000
    assert scan(watch, Counting()) == []
    assert watch.count(SENT) == len(keys) == len(set(keys)) == 5000


def test_second_watcher_of_folder_is_rejected(make_watch, folder):
    make_watch()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        Watch(folder)


def test_invalid_state_file_raises_error(folder):
    (folder / STATE_NAME).write_bytes(b"no database" * 100)
    with pytest.raises(Exception, match="not a database"):
        Watch(folder)


@pytest.mark.weights
def test_sent_images_are_stored_despite_service_crashes(tmp_path, folder, make_watch):
    service = Service(tmp_path)
    service.start()
    total = 60
    for number in range(total):
        (folder / f"{number}.png").write_bytes(image_file(20 + number % 30, 20 + number // 30))

    def kill_and_start():
        for enough in (10, 30):
            while len(sent) < enough:
                time.sleep(0.005)
            service.kill()
            service.start()

    sent = []
    breaker = threading.Thread(target=kill_and_start)
    breaker.start()
    errors, watch = 0, make_watch()
    try:
        with EmotionClient(service.url, retries=0) as client:
            deadline = time.monotonic() + 90
            while len(sent) < total or breaker.is_alive():
                assert time.monotonic() < deadline
                for event in (event for _ in range(3) for event in watch.scan(client)):
                    errors += event.error is not None
                    sent += [event.name] if event.error is None else []
                watch = make_watch()  # also restart the watcher
        with EmotionClient(service.url) as client:
            stored = [image.file_name for image in client.images()]
    finally:
        breaker.join()
        service.stop()
    assert errors > 0, "the crashes caused no errors"
    assert sorted(stored) == sorted(f"{number}.png" for number in range(total))
    assert sorted(sent) == sorted(stored)
