"""Retries: errors that are retried, pauses, and the idempotency key."""

import email.utils
import time

import emotions
import pytest
from emotions import transport

from tests.client.conftest import ANALYSIS, NO_RESPONSE, Response, problem
from tests.conftest import image_file

IMAGE = image_file()


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


@pytest.mark.parametrize("key", ["", "  ", "ä", "a\nb"])
def test_invalid_idempotency_key_raises_value_error(scripted, client, key):
    with pytest.raises(ValueError, match="idempotency_key must be ASCII"):
        client.analyse(IMAGE, idempotency_key=key)
    assert scripted.requests == []


def test_delete_succeeds_if_404_follows_lost_response(scripted, client):
    scripted.responses = [NO_RESPONSE, problem(404, "not-found")]
    client.delete(7)
    scripted.responses = [problem(404, "not-found")]
    with pytest.raises(emotions.NotFound):
        client.delete(7)
