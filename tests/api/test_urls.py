"""POST /v1/images with a URL, on stubs and a network of the tests' own."""

import base64
import logging
from itertools import count

import pytest
from sqlalchemy import func, select

from app.store.tables import IdempotencyRow, ImageRow, db
from tests.api.test_errors import assert_problem
from tests.conftest import picture
from tests.upstream import http_response, redirect

ONE_FACE, TWO_FACES = picture(50, gray=250), picture(100, gray=250)
URL = "https://images.example.com/a.png"
KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}


@pytest.fixture
def secure(app, internet):
    """What lies at images.example.com, from which this service fetches."""
    app.extensions["fetcher"] = internet.fetcher()
    internet.secure.responses |= {
        "/a.png": http_response(ONE_FACE),
        "/b.png": http_response(TWO_FACES),
    }
    return internet.secure


def post(client, url=URL, headers=None, **fields):
    return client.post("/v1/images", json={"url": url, **fields}, headers=headers)


def stored(app, row=ImageRow):
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(row))


def test_a_picture_is_fetched_analysed_and_kept(client, secure):
    answer = post(client, threshold=0.2)
    assert answer.status_code == 201
    assert answer.json["file_name"] == "a.png"
    assert answer.json["threshold"] == 0.2
    assert answer.json["faces"][0]["happiness"] > 0.9
    assert client.get(answer.location).json == answer.json


def test_options_may_stand_in_the_query(client, secure):
    answer = client.post("/v1/images?threshold=0.3&store=false&view=full", json={"url": URL})
    assert (answer.status_code, answer.json["threshold"]) == (200, 0.3)
    assert "timings_ms" in answer.json


def test_it_may_be_answered_by_the_annotated_picture(app, client, secure):
    answer = post(client, headers={"Accept": "image/png"})
    assert (answer.status_code, answer.content_type) == (201, "image/png")
    assert stored(app) == 1


@pytest.mark.parametrize(
    ("path", "given", "kept"),
    [
        ("/a.png?token=secret#x", None, "a.png"),
        ("/faces/na%C3%AFve%20one.png", None, "naïve one.png"),
        ("/x/..%2F..%2Fetc%2Fpasswd", None, "passwd"),
        ("/a%00b%0A.png", None, "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}.png"),
        ("/%FF.png", None, "\N{REPLACEMENT CHARACTER}.png"),
        ("/" + "x" * 600, None, "x" * 255),
        ("/folder/", None, "unnamed"),
        ("", None, "unnamed"),
        ("/a.png", "mine.png", "mine.png"),
        ("/moved.png", None, "moved.png"),
    ],
)
def test_it_is_called_as_the_url_ends_or_as_is_said(client, secure, path, given, kept):
    bare = path.partition("?")[0]
    secure.responses[bare or "/"] = (
        redirect("/a.png") if bare == "/moved.png" else http_response(ONE_FACE)
    )
    fields = {"file_name": given} if given else {}
    assert post(client, f"https://images.example.com{path}", **fields).json["file_name"] == kept


def test_by_default_nothing_is_fetched(app, client, internet):
    answer = post(client)
    assert_problem(answer, 422)
    assert answer.json["type"] == "urn:emotion:problem:unusable-url"
    assert answer.json["errors"][0]["field"] == "url"
    assert "EMOTION_FETCH_HOSTS" in answer.json["detail"]
    assert stored(app) == 0


def test_the_setting_turns_it_on_with_every_check(make_app, monkeypatch):
    monkeypatch.setattr("app.fetch.socket.create_connection", lambda *_: pytest.fail("connected"))
    monkeypatch.setattr(
        "app.fetch.socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 0))]
    )
    client = make_app(fetch_hosts="localhost, images.example.com").test_client()
    for url, why in (
        (URL, "public"),
        ("https://localhost/a.png", "public"),
        ("https://elsewhere.example.com/a.png", "host"),
        ("http://images.example.com/a.png", "https://"),
        ("https://me:word@images.example.com/a.png", "password"),
    ):
        answer = post(client, url)
        assert_problem(answer, 422)
        assert why in answer.json["detail"]
        assert "127" not in answer.text


@pytest.mark.parametrize(
    ("answer", "status", "field"),
    [
        (http_response(b"secret", status="404 Gone"), 502, "url"),
        (http_response(b"", status="204 None"), 502, "url"),
        (http_response(b""), 502, "url"),
        (http_response(ONE_FACE, f"Content-Length: {len(ONE_FACE) + 1}"), 502, "url"),
        (http_response(ONE_FACE, "Content-Encoding: gzip"), 502, "url"),
        (http_response(b"", f"Content-Length: {10**9}"), 413, "image"),
        (http_response(b"<html>secret</html>", "Content-Type: image/png"), 415, "image"),
        (http_response(ONE_FACE[:-30]), 422, "image"),
        (redirect("https://127.0.0.1/secret"), 422, "url"),
        (redirect("/a.png?secret", "302 Found").replace(b"/a.png", b"/c.png"), 422, "url"),
    ],
)
def test_what_gives_no_picture_is_a_problem_and_leaves_nothing(
    app, client, secure, answer, status, field
):
    secure.responses["/c.png"] = answer
    said = post(client, "https://images.example.com/c.png", headers=KEY)
    assert_problem(said, status)
    assert [error["field"] for error in said.json["errors"]] == [field]
    assert "secret" not in said.text
    assert (stored(app), stored(app, IdempotencyRow)) == (0, 0)


def test_a_host_that_drips_is_a_504(app, client, internet, secure):
    app.extensions["fetcher"] = internet.fetcher(seconds=0.2)
    secure.responses["/c.png"] = secure.drip(b"HTTP/1.1 200 OK\r\n\r\n", b"a")
    assert_problem(post(client, "https://images.example.com/c.png"), 504)
    assert post(client).status_code == 201


@pytest.mark.parametrize("url", [None, 5, [], {}, True, "", "https://[", "x" * 5000, "\x00"])
def test_what_is_no_url_is_refused(app, client, internet, secure, url):
    answer = post(client, url)
    assert_problem(answer, 422)
    assert [error["field"] for error in answer.json["errors"]] == ["url"]
    assert internet.resolved == []


def test_a_picture_and_a_url_are_one_too_many(client, secure):
    answer = post(client, image=base64.b64encode(ONE_FACE).decode())
    assert_problem(answer, 400)
    assert secure.heads == []


def test_a_url_stands_in_json_only(client, secure):
    for answer in (
        client.post("/v1/images", query_string={"url": URL}, json={}),
        client.post("/v1/images", query_string={"url": URL}),
        client.post("/v1/images", data={"url": URL}, content_type="multipart/form-data"),
    ):
        assert_problem(answer, 422)
        assert [error["field"] for error in answer.json["errors"]] == ["url"]
    assert_problem(client.post("/index", json={"url": URL}), 400)
    assert secure.heads == []


def test_nothing_is_fetched_for_a_request_that_is_wrong_anyway(client, secure):
    for fields in ({"threshold": 7}, {"model": "nope"}, {"detector": "nope"}, {"thresold": 0.5}):
        assert post(client, **fields).status_code == 422
    assert post(client, headers={"Accept": "text/xml"}).status_code == 406
    assert post(client, headers={"Idempotency-Key": ""}).status_code == 400
    assert secure.heads == []


def test_a_retry_is_answered_by_what_was_kept_and_not_fetched_again(app, client, secure):
    first = post(client, headers=KEY)
    secure.responses["/a.png"] = http_response(TWO_FACES)  # a camera's newest picture, say
    again = post(client, headers=KEY)
    assert (again.status_code, again.json) == (201, first.json)
    assert len(secure.heads) == 1
    app.extensions["fetcher"] = None
    assert post(client, headers=KEY).json == first.json
    assert stored(app) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"url": URL + "?size=big"},
        {"url": "https://images.example.com/b.png"},
        {"file_name": "other.png"},
        {"threshold": 0.1},
    ],
)
def test_the_same_key_with_another_url_or_option_is_refused(app, client, secure, other):
    post(client, headers=KEY)
    assert_problem(post(client, headers=KEY, **other), 409)
    assert len(secure.heads) == stored(app) == 1


def test_a_url_and_the_picture_behind_it_are_different_requests(client, secure):
    post(client, headers=KEY)
    body = {"image": base64.b64encode(ONE_FACE).decode(), "file_name": "a.png"}
    assert client.post("/v1/images", json=body, headers=KEY).status_code == 409


def test_what_failed_to_be_fetched_can_be_sent_again(app, client, secure):
    secure.responses["/a.png"] = http_response(b"", status="503 Busy")
    assert post(client, headers=KEY).status_code == 502
    secure.responses["/a.png"] = http_response(ONE_FACE)
    assert post(client, headers=KEY).status_code == 201
    assert stored(app) == 1


def test_a_retry_is_not_drawn_into_another_picture(app, client, secure):
    post(client, headers=KEY)
    secure.responses["/a.png"] = http_response(picture(50, gray=0))
    assert_problem(post(client, headers=KEY | {"Accept": "image/png"}), 406)
    assert len(secure.heads) == stored(app) == 1


def test_nor_is_the_answer_of_a_quicker_retry(app, client, secure, monkeypatch):
    from app.store import idempotency

    first = post(client, headers=KEY)
    real, looked = idempotency.image_id, count()
    monkeypatch.setattr(
        idempotency, "image_id", lambda retry: (next(looked) and real(retry)) or None
    )
    assert_problem(post(client, headers=KEY | {"Accept": "image/png"}), 406)
    assert post(client, headers=KEY).json == first.json
    assert stored(app) == 1


def test_neither_log_nor_answer_holds_the_url(client, secure, caplog):
    caplog.set_level(logging.DEBUG)
    secure.responses["/gone"] = http_response(b"", status="500 Oops")
    for url in (URL, "https://images.example.com/gone", "https://elsewhere.example/a.png"):
        assert "secret" not in post(client, f"{url}?token=secret").text
    assert "token" not in "".join(str(vars(record)) for record in caplog.records)
    assert len([record for record in caplog.records if record.message == "request"]) == 3


def test_what_is_refused_is_counted(client, secure):
    secure.responses["/gone"] = http_response(b"", status="404 Gone")
    post(client, "https://images.example.com/gone")
    post(client, "https://elsewhere.example/a.png")
    said = client.get("/metrics").text
    assert 'emotion_refused_total{reason="FetchFailed"}' in said
    assert 'emotion_refused_total{reason="UnusableUrl"}' in said


def test_the_openapi_document_tells_of_it(client):
    document = client.get("/openapi.json").json
    body = document["paths"]["/v1/images"]["post"]["requestBody"]["content"]["application/json"]
    forms = [each["$ref"].rsplit("/", 1)[-1] for each in body["schema"]["oneOf"]]
    required = [document["components"]["schemas"][form]["required"] for form in forms]
    assert required == [["image"], ["url"]]
    assert {"502", "504"} <= set(document["paths"]["/v1/images"]["post"]["responses"])
