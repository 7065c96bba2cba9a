"""Exceptions of the client: problems of the service, and services that cannot be used."""

import threading

import emotions
import pytest
import requests
from emotions import EmotionClient

from tests.client.conftest import ANALYSIS, FACE, Response, problem
from tests.conftest import image_file

IMAGE = image_file()


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
