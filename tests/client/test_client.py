"""The client with a stub server: requests, idempotency keys, many images and sessions."""

import threading
import time
from datetime import UTC, datetime

import emotions
import pytest
from emotions import EmotionClient

from tests.client.conftest import ANALYSIS, Response
from tests.conftest import image_file

IMAGE = image_file()


def test_api_key_is_sent_only_if_set(scripted):
    for key in ("emo_secret", None):
        with EmotionClient(scripted.url, key) as client:
            client.image(7)
    with_key, without = scripted.requests
    assert with_key.headers["Authorization"] == "Bearer emo_secret"
    assert "Authorization" not in without.headers


def test_base_url_without_scheme_raises_value_error():
    with pytest.raises(ValueError, match="http://"):
        EmotionClient("localhost:5000")


def test_omitted_options_are_not_sent(scripted, client):
    client.analyse(IMAGE)
    client.analyse(IMAGE, threshold=0.25, model="m", max_faces=3, store=False)
    without_options, with_options = (request.body for request in scripted.requests)
    assert b'name="threshold"' not in without_options
    for name, text in {
        "threshold": "0.25",
        "model": "m",
        "max_faces": "3",
        "store": "false",
    }.items():
        assert f'name="{name}"\r\n\r\n{text}\r\n'.encode() in with_options


def test_analyse_many_keeps_order_and_continues_after_errors(scripted, client, tmp_path):
    (tmp_path / "a.png").write_bytes(IMAGE)
    sources = [tmp_path / "a.png", tmp_path / "none.png", IMAGE]
    outcomes = list(client.analyse_many(sources, workers=2))
    assert [outcome.source for outcome in outcomes] == sources
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    assert isinstance(outcomes[1].error, emotions.UnreadableImage)
    assert outcomes[2].analysis.id == 7


def test_analyse_many_limits_read_ahead_and_concurrency(scripted, client):
    read, concurrent, max_concurrent = [], 0, 0
    lock = threading.Lock()

    def wait():
        nonlocal concurrent, max_concurrent
        with lock:
            concurrent += 1
            max_concurrent = max(max_concurrent, concurrent)
        time.sleep(0.01)
        with lock:
            concurrent -= 1

    def infinite():
        while True:
            read.append(1)
            yield IMAGE

    scripted.responses = [Response(201, ANALYSIS, before=wait)]
    outcomes = client.analyse_many(infinite(), workers=3)
    for count in range(1, 20):
        next(outcomes)
        assert len(read) <= count + 2 * 3
    outcomes.close()
    assert 1 < max_concurrent <= 3
    sent = len(scripted.requests)
    time.sleep(0.1)
    assert len(scripted.requests) == sent  # no requests in the background


def test_analyse_many_starts_no_image_after_close(client, monkeypatch):
    proceed, running, started = threading.Event(), threading.Semaphore(0), []

    def analyse(source):
        started.append(source)
        if source:
            running.release()
            proceed.wait(10)
        return emotions.Analysis.read(ANALYSIS)

    monkeypatch.setattr(client, "analyse", analyse)
    outcomes = client.analyse_many(range(9), workers=3)
    next(outcomes)
    assert all(running.acquire(timeout=10) for _ in range(3))
    closing = threading.Thread(target=outcomes.close)
    closing.start()
    time.sleep(0.2)
    proceed.set()
    closing.join()
    assert sorted(started) == [0, 1, 2, 3]


def test_naive_datetime_is_local_time(scripted, client, monkeypatch):
    scripted.responses = [Response(200, {"spans": []})]
    with monkeypatch.context() as zone:
        zone.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        client.summary(since=datetime(2026, 1, 2))
    time.tzset()
    assert "since=2026-01-02T00%3A00%3A00%2B09%3A00" in scripted.requests[0].path


def test_pages_are_fetched_lazily(scripted, client):
    scripted.responses = [
        Response(200, {"images": [ANALYSIS, ANALYSIS], "next_cursor": "two"}),
        Response(200, {"images": [ANALYSIS], "next_cursor": None}),
    ]
    images = client.images(emotion="anger", since=datetime(2026, 1, 2, tzinfo=UTC))
    assert scripted.requests == []
    next(images)
    assert len(scripted.requests) == 1
    assert len(list(images)) == 2
    first, second = (request.path for request in scripted.requests)
    assert "emotion=anger" in first
    assert "since=2026-01-02T00%3A00%3A00%2B00%3A00" in first
    assert "cursor=two" in second
    assert "emotion=anger" in second


def test_mood_of_unstored_analysis_raises_value_error(scripted, client):
    scripted.responses = [
        Response(200, {name: value for name, value in ANALYSIS.items() if name != "id"})
    ]
    found = client.analyse(IMAGE, store=False)
    with pytest.raises(ValueError, match="stored"):
        found.mood("mean")


def test_each_thread_has_its_own_session(client):
    threads = [threading.Thread(target=client._transport._session) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(client._transport._sessions) == 3
    client.close()
    assert client._transport._sessions == []
    assert client.analyse(IMAGE).id == 7  # opens a new session
