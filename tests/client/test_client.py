"""The client against a service that is away, busy, slow, odd or wrong."""

import email.utils
import io
import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import emotions
import numpy as np
import pytest
import requests
from emotions import EmotionClient, transport
from PIL import Image

from tests.client.conftest import FACE, HANG_UP, IMAGE, Answer, problem
from tests.conftest import picture

PICTURE = picture()


def test_an_analysis_is_typed_and_members_of_the_future_are_passed_over(client):
    found = client.analyse(PICTURE)
    assert (found.id, found.file_name, found.model, found.detector) == (7, "a.jpg", "net", "haar")
    assert found.created_at == datetime(2026, 5, 4, 12, 0, 0, 500_000, UTC)
    (face,) = found.faces
    assert face.dominant == "anger"
    assert face.emotions["anger"] == 0.7
    assert face.box_xyxy == (1.5, 2.0, 30.0, 40.0)
    assert face.shown(0.5) == {"anger": 0.7}


def test_members_that_an_older_service_lacks_have_their_defaults():
    found = emotions.Analysis.read(IMAGE)
    assert (found.rotation, found.faces[0].valence, found.faces[0].arousal) == (0, None, None)
    span = emotions.Span.read({"span": "2026", "images": 1, "faces": 1, "emotions": {}})
    assert (span.valence, span.arousal) == (None, None)


def test_rotation_valence_and_arousal_are_read():
    face = IMAGE["faces"][0] | {"valence": -0.5, "arousal": 0.25}
    found = emotions.Analysis.read(IMAGE | {"rotation": 270, "faces": [face]})
    assert found.rotation == 270
    assert (found.faces[0].valence, found.faces[0].arousal) == (-0.5, 0.25)
    document = {"span": "2026", "images": 1, "faces": 1, "emotions": {}}
    span = emotions.Span.read(document | {"valence": 0.5, "arousal": None})
    assert (span.valence, span.arousal) == (0.5, None)


VALUES = [0, 0.0, 0.004, 0.005, 0.00500001, 0.015, 0.125, 0.49, 0.4949999, 0.495, 0.4950001, 0.496]
VALUES += [0.5, 0.5049999, 0.505, 0.5050001, 0.51, 0.985, 0.994, 0.995, 0.9950001, 1, 1.0]
VALUES += [number / 1000 for number in range(1001)]
THRESHOLDS = [0, 0.01, 0.1, 0.3, 0.49, 0.495, 0.496, 0.5, 0.504, 0.505, 0.51, 0.99, 0.995, 1]


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_a_face_shows_the_emotions_that_the_service_shows(threshold):
    from app.vision.types import Box, Scores
    from app.vision.types import Face as ServiceFace

    for value in VALUES:
        emotions_of_face = {"anger": value, "neutral": 1 - value}
        ours = emotions.Face(1, (0, 0, 1, 1), "anger", emotions_of_face)
        theirs = ServiceFace(Box(0, 0, 1, 1), Scores(emotions_of_face))
        assert ours.shown(threshold) == theirs.emotions.rounded(threshold), value


def test_persons_and_frames_are_read_where_the_service_sends_them(scripted, client):
    person = {
        "person_id": 1, "face_id": 1, "box": FACE["box"], "detection_score": 0.8,
        "categories": {"Doubt/Confusion": 0.4}, "valence": 7.1, "arousal": 5.4, "dominance": 6.2,
    }  # fmt: skip
    frame = {"job": "a1", "position_ms": 0, "persons": [person]}
    face = {**FACE, "track_id": 3}
    scripted.answers = [Answer(200, {**IMAGE, **frame, "faces": [face]}), Answer(200, IMAGE)]
    found = client.image(7)
    assert found.persons == (
        emotions.Person(1, (1.5, 2.0, 30.0, 40.0), {"Doubt/Confusion": 0.4}, 7.1, 5.4, 6.2, 1, 0.8),
    )
    assert (found.job, found.position_ms, found.faces[0].track_id) == ("a1", 0, 3)
    usual = client.image(7)
    assert (usual.persons, usual.job, usual.position_ms) == ((), None, None)
    assert (usual.faces[0].track_id, usual.faces[0].exclusive) == (None, True)


def test_a_probability_is_compared_when_it_is_rounded():
    face = emotions.Face(1, (0, 0, 1, 1), "anger", {"anger": 0.496, "neutral": 0.4949})
    assert face.shown(0.5) == {"anger": 0.5}
    assert face.shown(0.49) == {"anger": 0.5, "neutral": 0.49}
    assert face.shown(0.496) == {"anger": 0.5}
    assert face.shown(0.501) == {}


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (problem(400, "no-image"), emotions.BadPicture),
        (problem(400, "malformed-input"), emotions.InvalidRequest),
        (problem(401, "missing-key"), emotions.KeyRefused),
        (problem(401, "wrong-key"), emotions.KeyRefused),
        (problem(403, "missing-right"), emotions.NotAllowed),
        (problem(404, "not-found"), emotions.NotFound),
        (problem(409, "key-reused"), emotions.Conflict),
        (problem(413, "image-too-large"), emotions.TooLarge),
        (problem(415, "unsupported-image-type"), emotions.BadPicture),
        (problem(422, "undecodable-image"), emotions.BadPicture),
        (problem(422, "unknown-model"), emotions.InvalidRequest),
        (problem(429, "too-many-requests", Retry_After="9999"), emotions.RateLimited),
        (problem(500, "x"), emotions.ServiceError),
        (problem(502, "fetch-failed"), emotions.FetchFailed),
        (problem(503, "model-unavailable", Retry_After="9999"), emotions.ServiceBusy),
        (problem(418, "of-the-future"), emotions.InvalidRequest),
    ],
)
def test_each_refusal_has_its_exception_and_is_final(scripted, client, refusal, kind):
    scripted.answers = [refusal]
    with pytest.raises(emotions.Problem) as raised:
        client.analyse(PICTURE)
    assert type(raised.value) is kind
    assert (str(raised.value), raised.value.request_id) == ("why", "r1")
    assert raised.value.status == refusal.status
    assert len(scripted.requests) == 1


def test_every_problem_of_the_service_has_an_exception_of_its_kind():
    from app.api.problems import STATUS

    for error, status in STATUS.items():
        words = "".join(f"-{c.lower()}" if c.isupper() else c for c in error.__name__).strip("-")
        made = emotions.errors.problem(status, {"type": f"urn:emotion:problem:{words}"})
        assert type(made) is not emotions.Problem
        assert isinstance(made, emotions.ServiceError) is False


@pytest.mark.parametrize(
    "trouble",
    [
        HANG_UP,
        problem(503, "busy", Retry_After="0"),
        problem(503, "store-unavailable"),
        problem(429, "too-many-requests", Retry_After="0"),
        Answer(502, b"<html>Bad Gateway", {"Content-Type": "text/html"}),
        Answer(504, b"", {"Content-Type": "text/html"}),
    ],
)
def test_what_passes_is_tried_again_under_the_same_key(scripted, client, trouble):
    scripted.answers = [trouble, trouble, Answer(201, IMAGE)]
    assert client.analyse(PICTURE).id == 7
    assert len(scripted.requests) == 3
    assert len(set(scripted.keys())) == 1
    assert all(scripted.keys())
    bodies = {request.body.split(b"\r\n\r\n", 1)[1].count(PICTURE) for request in scripted.requests}
    assert bodies == {1}  # whole each time


def test_each_picture_has_a_key_of_its_own_unless_one_is_given(scripted, client):
    client.analyse(PICTURE)
    client.analyse(PICTURE)
    client.analyse(PICTURE, idempotency_key="mine")
    first, second, mine = scripted.keys()
    assert first != second
    assert mine == "mine"


@pytest.mark.parametrize("kind", ["seconds", "date"])
def test_retry_after_is_kept_to(scripted, client, monkeypatch, kind):
    slept = []
    monkeypatch.setattr(transport.time, "sleep", slept.append)
    text = "7" if kind == "seconds" else email.utils.formatdate(time.time() + 7, usegmt=True)
    scripted.answers = [problem(503, "busy", Retry_After=text), Answer(201, IMAGE)]
    client.analyse(PICTURE)
    assert slept == [pytest.approx(7, abs=1.1)]


def test_pauses_grow_and_vary(scripted, client, monkeypatch):
    slept = []
    monkeypatch.setattr(transport.time, "sleep", slept.append)
    monkeypatch.setattr(transport.random, "uniform", lambda low, high: high)
    scripted.answers = [HANG_UP]
    with pytest.raises(emotions.ServiceAway):
        client.analyse(PICTURE)
    assert slept == [0.002, 0.004, 0.008, 0.016]
    assert len(scripted.requests) == 5


def test_a_service_that_is_not_there_is_away():
    client = EmotionClient("http://127.0.0.1:1", retries=0)
    with client, pytest.raises(emotions.ServiceAway, match="does not answer"):
        client.models()


def test_a_certificate_that_does_not_hold_is_not_tried_again(client, monkeypatch):
    tries = []

    def refuse(*_, **__):
        tries.append(1)
        raise requests.exceptions.SSLError("self-signed")

    monkeypatch.setattr(requests.Session, "request", refuse)
    with pytest.raises(emotions.ServiceAway, match=r"cannot be verified: self-signed"):
        next(client.images())
    assert len(tries) == 1


def test_a_service_that_says_nothing_times_out(scripted):
    over = threading.Event()
    scripted.answers = [Answer(201, IMAGE, before=over.wait)]
    client = EmotionClient(scripted.url, timeout=(1, 0.05), retries=1)
    with client, pytest.raises(emotions.TimedOut):
        client.analyse(PICTURE)
    over.set()
    assert len(set(scripted.keys())) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>hello"),
        Answer(200, b"[]"),
        Answer(200, b"{}"),
        Answer(200, {**IMAGE, "faces": [{**FACE, "box": None}]}),
        Answer(200, {**IMAGE, "created_at": "yesterday"}),
        Answer(404, b"<html>nothing here"),
        Answer(404, b"nonsense", {"Content-Type": "application/problem+json"}),
        Answer(404, b"[1]", {"Content-Type": "application/problem+json"}),
        Answer(301, b"", {"Location": "https://elsewhere.example/"}),
    ],
)
def test_what_is_not_the_service_is_said_so(scripted, client, answer):
    scripted.answers = [answer]
    with pytest.raises(emotions.BadReply):
        client.image(7)
    assert len(scripted.requests) == 1


def test_the_key_is_sent_and_only_where_there_is_one(scripted):
    for key in ("emo_secret", None):
        with EmotionClient(scripted.url, key) as client:
            client.image(7)
    with_key, without = scripted.requests
    assert with_key.headers["Authorization"] == "Bearer emo_secret"
    assert "Authorization" not in without.headers


def test_an_address_without_a_scheme_is_refused_at_once():
    with pytest.raises(ValueError, match="http://"):
        EmotionClient("localhost:5000")


@pytest.fixture
def ways(tmp_path):
    """What to send and the name that it goes by."""
    path = tmp_path / "ä photo.png"
    path.write_bytes(PICTURE)
    pixels = np.full((50, 60, 3), 90, np.uint8)
    file = path.open("rb")
    yield {
        "path": (path, "ä photo.png"),
        "text": (str(path), "ä photo.png"),
        "bytes": (PICTURE, "picture"),
        "file": (file, "ä photo.png"),
        "memory": (io.BytesIO(PICTURE), "picture"),
        "image": (Image.fromarray(pixels), "picture.png"),
        "array": (pixels, "picture.png"),
        "grey": (pixels[:, :, 0], "picture.png"),
    }
    file.close()


@pytest.mark.parametrize("way", ["path", "text", "bytes", "file", "memory"])
def test_a_file_is_sent_as_it_is(scripted, client, ways, way):
    sent, name = ways[way]
    client.analyse(sent)
    (request,) = scripted.requests
    assert PICTURE in request.body
    if name.isascii():
        assert f'filename="{name}"\r\n'.encode() in request.body
    else:
        assert b"filename=\"_ photo.png\"; filename*=UTF-8''%C3%A4%20photo.png" in request.body


@pytest.mark.parametrize("way", ["image", "array", "grey"])
def test_pixels_are_sent_without_loss(scripted, client, ways, way):
    sent, _ = ways[way]
    client.analyse(sent)
    body = scripted.requests[0].body
    start = body.index(b"\x89PNG")
    read = Image.open(io.BytesIO(body[start:]))
    assert read.size == (60, 50)
    assert np.asarray(read).min() == np.asarray(read).max() == 90


def test_a_file_name_that_is_no_text_is_sent_with_a_replacement(scripted, client, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    Path(path).write_bytes(PICTURE)
    client.analyse(path)
    with Path(path).open("rb") as file:
        client.analyse(file)
    client.analyse(PICTURE, file_name=path)
    for request in scripted.requests:
        assert b"filename=\"_.png\"; filename*=UTF-8''%EF%BF%BD.png\r\n" in request.body


@pytest.mark.parametrize("key", ["", "  ", "ä", "a\nb"])
def test_an_idempotency_key_that_no_header_holds_is_refused(scripted, client, key):
    with pytest.raises(ValueError, match="idempotency_key must be ASCII"):
        client.analyse(PICTURE, idempotency_key=key)
    assert scripted.requests == []


@pytest.mark.parametrize("name", ["nothing.jpg", ".", "\0"])
def test_a_file_that_cannot_be_read_is_not_sent(scripted, client, tmp_path, name):
    with pytest.raises(emotions.UnreadablePicture):
        client.analyse(tmp_path / name)
    assert scripted.requests == []


@pytest.mark.parametrize("wrong", [7, None, object(), io.StringIO("text")])
def test_what_is_no_picture_at_all_is_a_mistake_of_the_program(scripted, client, wrong):
    with pytest.raises(TypeError):
        client.analyse(wrong)
    assert scripted.requests == []


def test_options_that_are_not_given_are_left_to_the_service(scripted, client):
    client.analyse(PICTURE)
    client.analyse(PICTURE, threshold=0.25, model="m", max_faces=3, store=False)
    plain, given = (request.body for request in scripted.requests)
    assert b'name="threshold"' not in plain
    for name, text in {
        "threshold": "0.25",
        "model": "m",
        "max_faces": "3",
        "store": "false",
    }.items():
        assert f'name="{name}"\r\n\r\n{text}\r\n'.encode() in given


def test_many_are_answered_in_their_order_and_errors_stop_nothing(scripted, client, tmp_path):
    (tmp_path / "a.png").write_bytes(PICTURE)
    sources = [tmp_path / "a.png", tmp_path / "none.png", PICTURE]
    outcomes = list(client.analyse_many(sources, workers=2))
    assert [outcome.source for outcome in outcomes] == sources
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]
    assert isinstance(outcomes[1].error, emotions.UnreadablePicture)
    assert outcomes[2].analysis.id == 7


def test_many_are_neither_read_nor_sent_far_ahead(scripted, client):
    taken, at_once, most = [], 0, 0
    lock = threading.Lock()

    def busy():
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.01)
        with lock:
            at_once -= 1

    def endless():
        while True:
            taken.append(1)
            yield PICTURE

    scripted.answers = [Answer(201, IMAGE, before=busy)]
    outcomes = client.analyse_many(endless(), workers=3)
    for count in range(1, 20):
        next(outcomes)
        assert len(taken) <= count + 2 * 3
    outcomes.close()
    assert 1 < most <= 3
    sent = len(scripted.requests)
    time.sleep(0.1)
    assert len(scripted.requests) == sent  # nothing goes on in the background


def test_many_that_nobody_waits_for_any_more_are_not_begun(client, monkeypatch):
    go_on, under_way, begun = threading.Event(), threading.Semaphore(0), []

    def analyse(source):
        begun.append(source)
        if source:
            under_way.release()
            go_on.wait(10)
        return emotions.Analysis.read(IMAGE)

    monkeypatch.setattr(client, "analyse", analyse)
    outcomes = client.analyse_many(range(9), workers=3)
    next(outcomes)
    assert all(under_way.acquire(timeout=10) for _ in range(3))
    closing = threading.Thread(target=outcomes.close)
    closing.start()
    time.sleep(0.2)
    go_on.set()
    closing.join()
    assert sorted(begun) == [0, 1, 2, 3]


def test_a_time_without_a_zone_is_this_machines(scripted, client, monkeypatch):
    scripted.answers = [Answer(200, {"spans": []})]
    with monkeypatch.context() as zone:
        zone.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        client.summary(since=datetime(2026, 1, 2))
    time.tzset()
    assert "since=2026-01-02T00%3A00%3A00%2B09%3A00" in scripted.requests[0].path


def test_pages_are_asked_for_as_they_are_needed(scripted, client):
    scripted.answers = [
        Answer(200, {"images": [IMAGE, IMAGE], "next_cursor": "two"}),
        Answer(200, {"images": [IMAGE], "next_cursor": None}),
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


def test_an_erasure_whose_answer_got_lost_is_done(scripted, client):
    scripted.answers = [HANG_UP, problem(404, "not-found")]
    client.delete(7)
    scripted.answers = [problem(404, "not-found")]
    with pytest.raises(emotions.NotFound):
        client.delete(7)


def test_the_mood_of_what_is_not_stored_cannot_be_asked(scripted, client):
    scripted.answers = [Answer(200, {name: it for name, it in IMAGE.items() if name != "id"})]
    found = client.analyse(PICTURE, store=False)
    with pytest.raises(ValueError, match="stored"):
        found.mood("mean")


def test_threads_have_connections_of_their_own(client):
    sessions = set()

    def note():
        sessions.add(id(client._transport._session()))

    threads = [threading.Thread(target=note) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(client._transport._sessions) == 3
    client.close()
    assert client._transport._sessions == []
    assert client.analyse(PICTURE).id == 7  # opens new ones
