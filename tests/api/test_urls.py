"""POST /v1/images with a URL, with stub models and local hosts that stand for the internet."""

import base64
import logging

import pytest
from sqlalchemy import func, select

from app.store import idempotency
from app.store.tables import IdempotencyRow, ImageRow, db
from tests.api.test_errors import assert_problem
from tests.conftest import image_file
from tests.upstream import http_response, redirect

ONE_FACE, TWO_FACES = image_file(50, gray=250), image_file(100, gray=250)
URL = "https://images.example.com/a.png"
KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}


@pytest.fixture
def secure(app, internet):
    """The host images.example.com, from which the service can fetch."""
    app.extensions["fetcher"] = internet.fetcher()
    internet.secure.responses |= {
        "/a.png": http_response(ONE_FACE),
        "/b.png": http_response(TWO_FACES),
    }
    return internet.secure


def post(client, url=URL, headers=None, **fields):
    return client.post("/v1/images", json={"url": url, **fields}, headers=headers)


def count_rows(app, row=ImageRow):
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(row))


def test_image_is_fetched_analysed_and_stored(client, secure):
    response = post(client, threshold=0.2)
    assert response.status_code == 201
    assert response.json["file_name"] == "a.png"
    assert response.json["threshold"] == 0.2
    assert response.json["faces"][0]["happiness"] > 0.9
    assert client.get(response.location).json == response.json


def test_options_are_read_from_query(client, secure):
    response = client.post("/v1/images?threshold=0.3&store=false&view=full", json={"url": URL})
    assert (response.status_code, response.json["threshold"]) == (200, 0.3)
    assert "timings_ms" in response.json


def test_accept_header_selects_annotated_image(app, client, secure):
    response = post(client, headers={"Accept": "image/png"})
    assert (response.status_code, response.content_type) == (201, "image/png")
    assert count_rows(app) == 1


@pytest.mark.parametrize(
    ("path", "file_name", "stored"),
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
def test_file_name_is_option_or_last_part_of_url(client, secure, path, file_name, stored):
    target = path.partition("?")[0]
    secure.responses[target or "/"] = (
        redirect("/a.png") if target == "/moved.png" else http_response(ONE_FACE)
    )
    fields = {"file_name": file_name} if file_name else {}
    assert post(client, f"https://images.example.com{path}", **fields).json["file_name"] == stored


def test_fetching_is_disabled_by_default(app, client, internet):
    response = post(client)
    assert_problem(response, 422)
    assert response.json["type"] == "urn:emotion:problem:unusable-url"
    assert response.json["errors"][0]["field"] == "url"
    assert "EMOTION_FETCH_HOSTS" in response.json["detail"]
    assert count_rows(app) == 0


def test_setting_enables_fetching_with_all_checks(make_app, monkeypatch):
    monkeypatch.setattr("app.fetch.socket.create_connection", lambda *_: pytest.fail("connected"))
    monkeypatch.setattr(
        "app.fetch.socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 0))]
    )
    client = make_app(fetch_hosts="localhost, images.example.com").test_client()
    for url, reason in (
        (URL, "public"),
        ("https://localhost/a.png", "public"),
        ("https://elsewhere.example.com/a.png", "host"),
        ("http://images.example.com/a.png", "https://"),
        ("https://me:word@images.example.com/a.png", "password"),
    ):
        response = post(client, url)
        assert_problem(response, 422)
        assert reason in response.json["detail"]
        assert "127.0.0" not in response.text


@pytest.mark.parametrize(
    ("host_response", "status", "field"),
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
def test_url_without_image_returns_problem_and_stores_nothing(
    app, client, secure, host_response, status, field
):
    secure.responses["/c.png"] = host_response
    response = post(client, "https://images.example.com/c.png", headers=KEY)
    assert_problem(response, status)
    assert [error["field"] for error in response.json["errors"]] == [field]
    assert "secret" not in response.text
    assert (count_rows(app), count_rows(app, IdempotencyRow)) == (0, 0)


def test_slow_host_returns_504(app, client, internet, secure):
    app.extensions["fetcher"] = internet.fetcher(seconds=0.2)
    secure.responses["/c.png"] = secure.drip(b"HTTP/1.1 200 OK\r\n\r\n", b"a")
    assert_problem(post(client, "https://images.example.com/c.png"), 504)
    assert post(client).status_code == 201


@pytest.mark.parametrize("url", [None, 5, [], {}, True, "", "https://[", "x" * 5000, "\x00"])
def test_invalid_url_returns_422(app, client, internet, secure, url):
    response = post(client, url)
    assert_problem(response, 422)
    assert [error["field"] for error in response.json["errors"]] == ["url"]
    assert internet.resolved == []


def test_image_and_url_together_return_400(client, secure):
    response = post(client, image=base64.b64encode(ONE_FACE).decode())
    assert_problem(response, 400)
    assert secure.heads == []


def test_url_is_accepted_in_json_only(client, secure):
    for response in (
        client.post("/v1/images", query_string={"url": URL}, json={}),
        client.post("/v1/images", query_string={"url": URL}),
        client.post("/v1/images", data={"url": URL}, content_type="multipart/form-data"),
    ):
        assert_problem(response, 422)
        assert [error["field"] for error in response.json["errors"]] == ["url"]
    assert_problem(client.post("/index", json={"url": URL}), 400)
    assert secure.heads == []


def test_invalid_request_fetches_nothing(client, secure):
    for fields in ({"threshold": 7}, {"model": "nope"}, {"detector": "nope"}, {"thresold": 0.5}):
        assert post(client, **fields).status_code == 422
    assert post(client, headers={"Accept": "text/xml"}).status_code == 406
    assert post(client, headers={"Idempotency-Key": ""}).status_code == 400
    assert secure.heads == []


def test_replay_does_not_fetch_again(app, client, secure):
    first = post(client, headers=KEY)
    secure.responses["/a.png"] = http_response(TWO_FACES)  # for example, a camera has a newer image
    replay = post(client, headers=KEY)
    assert (replay.status_code, replay.json) == (201, first.json)
    assert len(secure.heads) == 1
    app.extensions["fetcher"] = None
    assert post(client, headers=KEY).json == first.json
    assert count_rows(app) == 1


@pytest.mark.parametrize(
    "difference",
    [
        {"url": URL + "?size=big"},
        {"url": "https://images.example.com/b.png"},
        {"file_name": "other.png"},
        {"threshold": 0.1},
    ],
)
def test_key_with_another_url_or_option_returns_409(app, client, secure, difference):
    post(client, headers=KEY)
    assert_problem(post(client, headers=KEY, **difference), 409)
    assert len(secure.heads) == count_rows(app) == 1


def test_url_and_its_image_are_different_requests(client, secure):
    post(client, headers=KEY)
    body = {"image": base64.b64encode(ONE_FACE).decode(), "file_name": "a.png"}
    assert client.post("/v1/images", json=body, headers=KEY).status_code == 409


def test_failed_fetch_can_be_repeated(app, client, secure):
    secure.responses["/a.png"] = http_response(b"", status="503 Busy")
    assert post(client, headers=KEY).status_code == 502
    secure.responses["/a.png"] = http_response(ONE_FACE)
    assert post(client, headers=KEY).status_code == 201
    assert count_rows(app) == 1


def test_replay_with_url_is_not_drawn(app, client, secure):
    post(client, headers=KEY)
    secure.responses["/a.png"] = http_response(image_file(50, gray=0))
    assert_problem(post(client, headers=KEY | {"Accept": "image/png"}), 406)
    assert len(secure.heads) == count_rows(app) == 1


def test_concurrent_replay_with_url_is_not_drawn(app, client, secure, monkeypatch):
    first = post(client, headers=KEY)
    real, lookups = idempotency.image_id, []

    def miss_first_lookup(request):
        lookups.append(request)
        return None if len(lookups) == 1 else real(request)

    monkeypatch.setattr(idempotency, "image_id", miss_first_lookup)
    assert_problem(post(client, headers=KEY | {"Accept": "image/png"}), 406)
    assert post(client, headers=KEY).json == first.json
    assert count_rows(app) == 1


def test_url_is_neither_logged_nor_returned(client, secure, caplog):
    caplog.set_level(logging.DEBUG)
    secure.responses["/gone"] = http_response(b"", status="500 Oops")
    for url in (URL, "https://images.example.com/gone", "https://elsewhere.example/a.png"):
        assert "secret" not in post(client, f"{url}?token=secret").text
    assert "token" not in "".join(str(vars(record)) for record in caplog.records)
    assert len([record for record in caplog.records if record.message == "request"]) == 3


def test_rejected_urls_are_counted(client, secure):
    secure.responses["/gone"] = http_response(b"", status="404 Gone")
    post(client, "https://images.example.com/gone")
    post(client, "https://elsewhere.example/a.png")
    metrics = client.get("/metrics").text
    assert 'emotion_refused_total{reason="FetchFailed"}' in metrics
    assert 'emotion_refused_total{reason="UnusableUrl"}' in metrics


def test_openapi_document_describes_url_body(client):
    document = client.get("/openapi.json").json
    body = document["paths"]["/v1/images"]["post"]["requestBody"]["content"]["application/json"]
    forms = [each["$ref"].rsplit("/", 1)[-1] for each in body["schema"]["oneOf"]]
    required = [document["components"]["schemas"][form]["required"] for form in forms]
    assert required == [["image"], ["url"]]
    assert {"502", "504"} <= set(document["paths"]["/v1/images"]["post"]["responses"])
