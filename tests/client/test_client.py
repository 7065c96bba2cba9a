"""The client with a stub server: valid responses, errors, timeouts and retries."""

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

from tests.client.conftest import ANALYSIS, FACE, NO_RESPONSE, Response, problem
from tests.conftest import image_file

IMAGE = image_file()


def test_analyse_returns_typed_result_and_ignores_unknown_members(client):
    found = client.analyse(IMAGE)
    assert (found.id, found.file_name, found.model, found.detector) == (7, "a.jpg", "net", "haar")
    assert found.created_at == datetime(2026, 5, 4, 12, 0, 0, 500_000, UTC)
    (face,) = found.faces
    assert face.dominant == "anger"
    assert face.emotions["anger"] == 0.7
    assert face.box_xyxy == (1.5, 2.0, 30.0, 40.0)
    assert face.shown(0.5) == {"anger": 0.7}


def test_missing_members_of_older_service_have_defaults():
    found = emotions.Analysis.read(ANALYSIS)
    assert (found.rotation, found.faces[0].valence, found.faces[0].arousal) == (0, None, None)
    span = emotions.Span.read({"span": "2026", "images": 1, "faces": 1, "emotions": {}})
    assert (span.valence, span.arousal) == (None, None)


def test_rotation_valence_and_arousal_are_read():
    face = ANALYSIS["faces"][0] | {"valence": -0.5, "arousal": 0.25}
    found = emotions.Analysis.read(ANALYSIS | {"rotation": 270, "faces": [face]})
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
def test_shown_rounds_like_the_service(threshold):
    from app.vision.types import Box, Scores
    from app.vision.types import Face as ServiceFace

    for value in VALUES:
        scores = {"anger": value, "neutral": 1 - value}
        client_face = emotions.Face(1, (0, 0, 1, 1), "anger", scores)
        service_face = ServiceFace(Box(0, 0, 1, 1), Scores(scores))
        assert client_face.shown(threshold) == service_face.emotions.rounded(threshold), value


def test_persons_and_video_frames_are_read_if_present(scripted, client):
    person = {
        "person_id": 1, "face_id": 1, "box": FACE["box"], "detection_score": 0.8,
        "categories": {"Doubt/Confusion": 0.4}, "valence": 7.1, "arousal": 5.4, "dominance": 6.2,
    }  # fmt: skip
    frame = {"job": "a1", "position_ms": 0, "persons": [person]}
    face = {**FACE, "track_id": 3}
    scripted.responses = [
        Response(200, {**ANALYSIS, **frame, "faces": [face]}),
        Response(200, ANALYSIS),
    ]
    found = client.image(7)
    assert found.persons == (
        emotions.Person(1, (1.5, 2.0, 30.0, 40.0), {"Doubt/Confusion": 0.4}, 7.1, 5.4, 6.2, 1, 0.8),
    )
    assert (found.job, found.position_ms, found.faces[0].track_id) == ("a1", 0, 3)
    plain = client.image(7)
    assert (plain.persons, plain.job, plain.position_ms) == ((), None, None)
    assert (plain.faces[0].track_id, plain.faces[0].exclusive) == (None, True)


def test_shown_compares_rounded_probability_with_threshold():
    face = emotions.Face(1, (0, 0, 1, 1), "anger", {"anger": 0.496, "neutral": 0.4949})
    assert face.shown(0.5) == {"anger": 0.5}
    assert face.shown(0.49) == {"anger": 0.5, "neutral": 0.49}
    assert face.shown(0.496) == {"anger": 0.5}
    assert face.shown(0.501) == {}


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (problem(400, "no-image"), emotions.BadImage),
        (problem(400, "malformed-input"), emotions.InvalidRequest),
        (problem(401, "missing-key"), emotions.KeyRefused),
        (problem(401, "wrong-key"), emotions.KeyRefused),
        (problem(403, "missing-right"), emotions.NotAllowed),
        (problem(404, "not-found"), emotions.NotFound),
        (problem(409, "key-reused"), emotions.Conflict),
        (problem(413, "image-too-large"), emotions.TooLarge),
        (problem(415, "unsupported-image-type"), emotions.BadImage),
        (problem(422, "undecodable-image"), emotions.BadImage),
        (problem(422, "unknown-model"), emotions.InvalidRequest),
        (problem(429, "too-many-requests", Retry_After="9999"), emotions.RateLimited),
        (problem(500, "x"), emotions.ServiceError),
        (problem(502, "fetch-failed"), emotions.FetchFailed),
        (problem(503, "model-unavailable", Retry_After="9999"), emotions.ServiceBusy),
        (problem(418, "of-the-future"), emotions.InvalidRequest),
    ],
)
def test_problem_raises_its_exception_without_retry(scripted, client, refusal, kind):
    scripted.responses = [refusal]
    with pytest.raises(emotions.Problem) as raised:
        client.analyse(IMAGE)
    assert type(raised.value) is kind
    assert (str(raised.value), raised.value.request_id) == ("why", "r1")
    assert raised.value.status == refusal.status
    assert len(scripted.requests) == 1


def test_every_service_problem_maps_to_specific_exception():
    from app.api.problems import STATUS

    for error, status in STATUS.items():
        words = "".join(f"-{c.lower()}" if c.isupper() else c for c in error.__name__).strip("-")
        exception = emotions.errors.problem(status, {"type": f"urn:emotion:problem:{words}"})
        assert type(exception) is not emotions.Problem
        assert isinstance(exception, emotions.ServiceError) is False


@pytest.mark.parametrize(
    "error",
    [
        NO_RESPONSE,
        problem(503, "busy", Retry_After="0"),
        problem(503, "store-unavailable"),
        problem(429, "too-many-requests", Retry_After="0"),
        Response(502, b"<html>Bad Gateway", {"Content-Type": "text/html"}),
        Response(504, b"", {"Content-Type": "text/html"}),
    ],
)
def test_transient_error_is_retried_with_same_idempotency_key(scripted, client, error):
    scripted.responses = [error, error, Response(201, ANALYSIS)]
    assert client.analyse(IMAGE).id == 7
    assert len(scripted.requests) == 3
    assert len(set(scripted.idempotency_keys())) == 1
    assert all(scripted.idempotency_keys())
    bodies = {request.body.split(b"\r\n\r\n", 1)[1].count(IMAGE) for request in scripted.requests}
    assert bodies == {1}  # each request has the complete image


def test_each_analysis_has_new_idempotency_key_unless_one_is_passed(scripted, client):
    client.analyse(IMAGE)
    client.analyse(IMAGE)
    client.analyse(IMAGE, idempotency_key="mine")
    first, second, mine = scripted.idempotency_keys()
    assert first != second
    assert mine == "mine"


@pytest.mark.parametrize("kind", ["seconds", "date"])
def test_retry_after_is_honoured(scripted, client, monkeypatch, kind):
    slept = []
    monkeypatch.setattr(transport.time, "sleep", slept.append)
    text = "7" if kind == "seconds" else email.utils.formatdate(time.time() + 7, usegmt=True)
    scripted.responses = [problem(503, "busy", Retry_After=text), Response(201, ANALYSIS)]
    client.analyse(IMAGE)
    assert slept == [pytest.approx(7, abs=1.1)]


def test_retry_pauses_grow_exponentially_with_jitter(scripted, client, monkeypatch):
    slept = []
    monkeypatch.setattr(transport.time, "sleep", slept.append)
    monkeypatch.setattr(transport.random, "uniform", lambda low, high: high)
    scripted.responses = [NO_RESPONSE]
    with pytest.raises(emotions.ServiceUnreachable):
        client.analyse(IMAGE)
    assert slept == [0.002, 0.004, 0.008, 0.016]
    assert len(scripted.requests) == 5


def test_closed_port_raises_service_unreachable():
    client = EmotionClient("http://127.0.0.1:1", retries=0)
    with client, pytest.raises(emotions.ServiceUnreachable, match="cannot be reached"):
        client.models()


def test_invalid_certificate_is_not_retried(client, monkeypatch):
    tries = []

    def refuse(*_, **__):
        tries.append(1)
        raise requests.exceptions.SSLError("self-signed")

    monkeypatch.setattr(requests.Session, "request", refuse)
    with pytest.raises(emotions.ServiceUnreachable, match=r"cannot be verified: self-signed"):
        next(client.images())
    assert len(tries) == 1


def test_silent_service_raises_timed_out(scripted):
    is_over = threading.Event()
    scripted.responses = [Response(201, ANALYSIS, before=is_over.wait)]
    client = EmotionClient(scripted.url, timeout=(1, 0.05), retries=1)
    with client, pytest.raises(emotions.TimedOut):
        client.analyse(IMAGE)
    is_over.set()
    assert len(set(scripted.idempotency_keys())) == 1


@pytest.mark.parametrize(
    "response",
    [
        Response(200, b"<html>hello"),
        Response(200, b"[]"),
        Response(200, b"{}"),
        Response(200, {**ANALYSIS, "faces": [{**FACE, "box": None}]}),
        Response(200, {**ANALYSIS, "created_at": "yesterday"}),
        Response(404, b"<html>nothing here"),
        Response(404, b"nonsense", {"Content-Type": "application/problem+json"}),
        Response(404, b"[1]", {"Content-Type": "application/problem+json"}),
        Response(301, b"", {"Location": "https://elsewhere.example/"}),
    ],
)
def test_response_of_other_server_raises_bad_reply(scripted, client, response):
    scripted.responses = [response]
    with pytest.raises(emotions.BadReply):
        client.image(7)
    assert len(scripted.requests) == 1


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


@pytest.fixture
def sources(tmp_path):
    """Images in all accepted forms, with the file names that are sent."""
    path = tmp_path / "ä photo.png"
    path.write_bytes(IMAGE)
    pixels = np.full((50, 60, 3), 90, np.uint8)
    file = path.open("rb")
    yield {
        "path": (path, "ä photo.png"),
        "text": (str(path), "ä photo.png"),
        "bytes": (IMAGE, "picture"),
        "file": (file, "ä photo.png"),
        "memory": (io.BytesIO(IMAGE), "picture"),
        "image": (Image.fromarray(pixels), "picture.png"),
        "array": (pixels, "picture.png"),
        "grey": (pixels[:, :, 0], "picture.png"),
    }
    file.close()


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "file", "memory"])
def test_file_is_sent_unchanged(scripted, client, sources, kind):
    sent, name = sources[kind]
    client.analyse(sent)
    (request,) = scripted.requests
    assert IMAGE in request.body
    if name.isascii():
        assert f'filename="{name}"\r\n'.encode() in request.body
    else:
        assert b"filename=\"_ photo.png\"; filename*=UTF-8''%C3%A4%20photo.png" in request.body


@pytest.mark.parametrize("kind", ["image", "array", "grey"])
def test_pixels_are_sent_losslessly(scripted, client, sources, kind):
    sent, _ = sources[kind]
    client.analyse(sent)
    body = scripted.requests[0].body
    start = body.index(b"\x89PNG")
    read = Image.open(io.BytesIO(body[start:]))
    assert read.size == (60, 50)
    assert np.asarray(read).min() == np.asarray(read).max() == 90


def test_undecodable_file_name_is_sent_with_replacement_character(scripted, client, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    Path(path).write_bytes(IMAGE)
    client.analyse(path)
    with Path(path).open("rb") as file:
        client.analyse(file)
    client.analyse(IMAGE, file_name=path)
    for request in scripted.requests:
        assert b"filename=\"_.png\"; filename*=UTF-8''%EF%BF%BD.png\r\n" in request.body


@pytest.mark.parametrize("key", ["", "  ", "ä", "a\nb"])
def test_invalid_idempotency_key_raises_value_error(scripted, client, key):
    with pytest.raises(ValueError, match="idempotency_key must be ASCII"):
        client.analyse(IMAGE, idempotency_key=key)
    assert scripted.requests == []


@pytest.mark.parametrize("name", ["nothing.jpg", ".", "\0"])
def test_unreadable_file_is_not_sent(scripted, client, tmp_path, name):
    with pytest.raises(emotions.UnreadableImage):
        client.analyse(tmp_path / name)
    assert scripted.requests == []


@pytest.mark.parametrize("wrong", [7, None, object(), io.StringIO("text")])
def test_other_objects_raise_type_error(scripted, client, wrong):
    with pytest.raises(TypeError):
        client.analyse(wrong)
    assert scripted.requests == []


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


def test_delete_succeeds_if_404_follows_lost_response(scripted, client):
    scripted.responses = [NO_RESPONSE, problem(404, "not-found")]
    client.delete(7)
    scripted.responses = [problem(404, "not-found")]
    with pytest.raises(emotions.NotFound):
        client.delete(7)


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


# ---------------------------------------------------------------- deprecated names

OLD_EXCEPTIONS = {
    "BadPicture": emotions.BadImage,
    "ServiceAway": emotions.ServiceUnreachable,
    "UnreadablePicture": emotions.UnreadableImage,
}


@pytest.mark.parametrize("module", [emotions, emotions.errors])
@pytest.mark.parametrize(("old", "new"), OLD_EXCEPTIONS.items())
def test_old_exception_name_warns_and_works(module, old, new):
    with pytest.warns(DeprecationWarning, match=f"{old} is deprecated: use {new.__name__}"):
        assert getattr(module, old) is new


def test_unknown_attribute_raises_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'BadVideo'"):
        _ = emotions.BadVideo


def test_old_argument_names_warn_and_work(scripted, client):
    with pytest.warns(DeprecationWarning, match="the argument picture is deprecated: use image"):
        assert client.analyse(picture=IMAGE).id == 7
    with pytest.warns(DeprecationWarning, match="use image"):
        client.annotated(picture=IMAGE)
    with pytest.warns(DeprecationWarning, match="the argument pictures is deprecated: use images"):
        assert [outcome.source for outcome in client.analyse_many(pictures=[IMAGE])] == [IMAGE]
    assert all(IMAGE in request.body for request in scripted.requests)
    assert not any(b'; name="picture"' in request.body for request in scripted.requests)


def test_old_method_name_warns_and_works(scripted, client):
    scripted.responses = [Response(200, IMAGE)]
    with pytest.warns(DeprecationWarning, match="picture is deprecated: use image_file"):
        assert client.picture(7) == client.image_file(7) == IMAGE
    assert {request.path for request in scripted.requests} == {"/v1/images/7/picture"}
