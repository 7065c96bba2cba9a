"""`emotions watch`: each picture once, whatever happens to either side."""

import os
import sqlite3
import threading
import time

import pytest
from emotions import DeadlineExceeded, EmotionClient, ServiceError, TimedOut
from emotions.types import Analysis
from emotions.watch import FAILED, SENT, STATE_NAME, Watch

from testbed.service import Service
from tests.client.conftest import HANG_UP, IMAGE, Answer, problem
from tests.conftest import picture

PICTURE = picture(20, 20)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "in"
    made.mkdir()
    return made


@pytest.fixture
def make_watch(folder):
    made = []

    def make():
        for watch in made:
            watch.close()  # as when the process ends
        made.append(Watch(folder))
        return made[-1]

    yield make
    for watch in made:
        watch.close()


@pytest.fixture
def impatient(scripted):
    """A client that does not try again by itself."""
    with EmotionClient(scripted.url, retries=0) as client:
        yield client


def look(watch, client, times=2):
    """The events of so many looks; the first only sees what is there."""
    return [event for _ in range(times) for event in watch.look(client, workers=2)]


def names(events):
    return [event.name for event in events]


def test_pictures_are_sent_once_and_nothing_else_is(scripted, impatient, make_watch, folder):
    (folder / "sub").mkdir()
    for name in ("a b.jpg", "ü.PNG", "sub/c.webp", "notes.txt", ".hidden.jpg", "part.jpg.tmp"):
        (folder / name).write_bytes(PICTURE)
    watch = make_watch()
    assert sorted(names(look(watch, impatient))) == ["a b.jpg", "sub/c.webp", "ü.PNG"]
    assert look(watch, impatient, times=3) == []
    assert len(scripted.requests) == 3
    assert watch.count(SENT) == 3


def test_after_a_restart_of_its_own_nothing_is_sent_again(impatient, make_watch, folder):
    (folder / "a.jpg").write_bytes(PICTURE)
    assert names(look(make_watch(), impatient)) == ["a.jpg"]
    (folder / "b.jpg").write_bytes(PICTURE)
    assert names(look(make_watch(), impatient)) == ["b.jpg"]


def test_what_is_still_written_waits(scripted, impatient, make_watch, folder):
    watch, path = make_watch(), folder / "a.jpg"
    for length in (5, 10, 20):
        path.write_bytes(PICTURE[:length])
        assert look(watch, impatient, times=1) == []
    path.write_bytes(PICTURE)
    assert names(look(watch, impatient)) == ["a.jpg"]
    assert PICTURE in scripted.requests[0].body


def test_other_content_is_another_picture_and_a_touch_is_not(
    scripted, impatient, make_watch, folder
):
    watch, path = make_watch(), folder / "a.jpg"
    path.write_bytes(PICTURE)
    look(watch, impatient)
    os.utime(path, (1, 1))
    assert look(watch, impatient, times=3) == []
    path.write_bytes(picture(30, 30))
    assert names(look(watch, impatient)) == ["a.jpg"]
    assert len(set(scripted.keys())) == len(scripted.keys()) == 2


def test_the_key_is_written_down_before_anything_is_sent(scripted, impatient, make_watch, folder):
    (folder / "a.jpg").write_bytes(PICTURE)
    scripted.answers = [HANG_UP]
    watch = make_watch()
    (event,) = look(watch, impatient)
    assert event.error is not None
    assert not event.given_up
    # As after a crash between sending and hearing: another process, the same key.
    scripted.answers = [Answer(201, IMAGE)]
    assert names(look(make_watch(), impatient)) == ["a.jpg"]
    assert len(set(scripted.keys())) == 1


def test_while_the_service_is_away_nothing_more_is_begun(scripted, impatient, make_watch, folder):
    for number in range(10):
        (folder / f"{number}.jpg").write_bytes(picture(20 + number, 20))
    scripted.answers = [problem(503, "store-unavailable")]
    watch = make_watch()
    look(watch, impatient)
    assert len(scripted.requests) == 2  # as many as there are workers
    scripted.answers = [Answer(201, IMAGE)]
    assert len(names(look(watch, impatient, times=1))) == 10


def test_a_bad_picture_is_given_up_and_stops_no_other(scripted, impatient, make_watch, folder):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (folder / name).write_bytes(PICTURE)
        os.utime(folder / name, (ord(name[0]), 1))
    scripted.answers = [problem(422, "undecodable-image", "cut short"), Answer(201, IMAGE)]
    watch = make_watch()
    events = look(watch, impatient, times=4)
    assert sorted(names(events)) == ["a.jpg", "b.jpg", "c.jpg"]
    (failed,) = [event for event in events if event.given_up]
    assert str(failed.error) == "cut short"
    assert (watch.count(SENT), watch.count(FAILED)) == (2, 1)
    assert look(make_watch(), impatient, times=3) == []  # also not after a restart


@pytest.mark.parametrize("error", [ServiceError(500, {}), DeadlineExceeded(503, {}), TimedOut()])
def test_a_picture_that_the_service_fails_with_lets_the_others_pass(
    make_watch, folder, monkeypatch, error
):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (folder / name).write_bytes(PICTURE)
        os.utime(folder / name, (ord(name[0]), 1))
    clock = [0.0]
    monkeypatch.setattr("emotions.watch.time.monotonic", lambda: clock[0])
    keys = []

    class Failing:
        def analyse(self, _, *, file_name, idempotency_key):
            if file_name == "a.jpg" and len(keys) < 5:
                keys.append(idempotency_key)
                raise error
            return Analysis.read(IMAGE)

    watch = make_watch()
    seen = [[event.name for event in watch.look(Failing(), workers=1)] for _ in range(4)]
    assert seen == [[], ["a.jpg"], ["b.jpg", "c.jpg"], []]
    assert watch.deferred() == 1
    tried = []
    for second in range(100):
        clock[0] = second / 2
        tried += [clock[0] for _ in watch.look(Failing(), workers=1)]
    assert tried == [1, 3, 7, 15, 31]
    assert len(set(keys)) == 1
    assert watch.count(SENT) == 3
    assert watch.deferred() == 0


def test_what_was_kept_under_other_options_is_not_sent_for_ever(
    scripted, impatient, make_watch, folder
):
    (folder / "a.jpg").write_bytes(PICTURE)
    scripted.answers = [problem(409, "key-reused")]
    watch = make_watch()
    (event,) = look(watch, impatient, times=3)
    assert event.error is None
    assert watch.count(SENT) == 1


def test_a_file_that_is_gone_again_is_no_trouble(scripted, impatient, make_watch, folder):
    watch, path = make_watch(), folder / "a.jpg"
    path.write_bytes(PICTURE)
    look(watch, impatient, times=1)
    path.unlink()
    assert look(watch, impatient, times=3) == []
    assert scripted.requests == []


def test_files_that_vanish_between_the_look_and_the_sending(make_watch, folder):
    for name in "abcd":
        (folder / f"{name}.jpg").write_bytes(picture(20, 20 + ord(name) % 7))

    class Clearing:
        def analyse(self, *_, **__):
            for path in folder.glob("*.jpg"):
                path.unlink()
            return Analysis.read(IMAGE)

    watch = make_watch()
    events = [event for _ in range(3) for event in watch.look(Clearing(), workers=1)]
    assert len(events) == 1


def test_files_that_are_written_anew_between_the_look_and_the_sending(make_watch, folder):
    for name in "ab":
        (folder / f"{name}.jpg").write_bytes(picture(20, 20 + ord(name) % 7))
        os.utime(folder / f"{name}.jpg", (ord(name), 1))
    sent = {}

    class Rewriting:
        def analyse(self, data, *, file_name, idempotency_key):
            if not sent:
                (folder / "b.jpg").write_bytes(picture(30, 30))
            assert sent.setdefault(idempotency_key, data) == data  # a key has one picture
            return Analysis.read(IMAGE)

    watch = make_watch()
    assert names(event for _ in range(4) for event in watch.look(Rewriting(), workers=1)) == [
        "a.jpg",
        "b.jpg",
    ]
    assert list(sent.values()) == [picture(20, 20 + ord("a") % 7), picture(30, 30)]


def test_names_that_are_no_text(scripted, impatient, make_watch, folder):
    path = os.fsencode(folder) + b"/\xff\xfe [b].jpg"
    try:
        with open(path, "wb") as file:  # noqa: PTH123 - a name that is bytes
            file.write(PICTURE)
    except OSError:
        pytest.skip("this file system takes text only")
    look(make_watch(), impatient)
    assert len(scripted.requests) == 1
    assert look(make_watch(), impatient, times=3) == []


def test_five_thousand_at_the_start(make_watch, folder):
    for number in range(5000):
        (folder / f"{number}.bmp").write_bytes(PICTURE + str(number).encode())
    keys = []

    class Counting:
        def analyse(self, data, *, file_name, idempotency_key):
            keys.append((file_name, idempotency_key))
            return Analysis.read(IMAGE)

    watch = make_watch()
    assert len(look(watch, Counting())) == 5000
    assert look(watch, Counting()) == []
    assert watch.count(SENT) == len(keys) == len(set(keys)) == 5000


def test_two_watchers_of_one_folder_are_one_too_many(make_watch, folder):
    make_watch()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        Watch(folder)


def test_a_state_that_is_none_is_said(folder):
    (folder / STATE_NAME).write_bytes(b"no database" * 100)
    with pytest.raises(Exception, match="not a database"):
        Watch(folder)


@pytest.mark.weights
def test_pictures_sent_are_results_stored_though_the_service_is_killed(
    tmp_path, folder, make_watch
):
    service = Service(tmp_path)
    service.start()
    total = 60
    for number in range(total):
        (folder / f"{number}.png").write_bytes(picture(20 + number % 30, 20 + number // 30))

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
                for event in (event for _ in range(3) for event in watch.look(client)):
                    errors += event.error is not None
                    sent += [event.name] if event.error is None else []
                watch = make_watch()  # the watcher itself is started anew, again and again
        with EmotionClient(service.url) as client:
            stored = [image.file_name for image in client.images()]
    finally:
        breaker.join()
        service.stop()
    assert errors > 0, "nothing broke"
    assert sorted(stored) == sorted(f"{number}.png" for number in range(total))
    assert sorted(sent) == sorted(stored)
