"""How much: places for pictures, time for a request, requests of a key."""

import io
import threading

import pytest
from flask import Response
from PIL import Image
from sqlalchemy import text

from app.api import rates
from app.api.access import PUBLIC, needs
from app.api.streams import MOST_STREAMS
from app.settings import SettingError
from app.store.tables import db
from tests.conftest import StubDetector, picture, upload


@pytest.fixture
def gate(monkeypatch):
    """Detection waits until this is set."""
    opened = threading.Event()
    opened.begun = threading.Semaphore(0)
    detect = StubDetector.detect

    def wait_and_detect(self, raster, min_face_px, deadline):
        opened.begun.release()
        assert opened.wait(20)
        return detect(self, raster, min_face_px)

    monkeypatch.setattr(StubDetector, "detect", wait_and_detect)
    yield opened
    opened.set()


def posting(app, answers, **query):
    def post():
        form = {"image": upload(picture())}
        answers.append(app.test_client().post("/v1/images", data=form, query_string=query))

    thread = threading.Thread(target=post)
    thread.start()
    return thread


def stored(app):
    with app.app_context():
        return db.session.execute(text("SELECT count(*) FROM images")).scalar_one()


@pytest.mark.parametrize("path", ["/v1/images", "/index"])
def test_who_finds_no_place_is_told_when_to_come_again(make_app, gate, path):
    app = make_app(max_in_flight=1)
    answers = []
    thread = posting(app, answers)
    assert gate.begun.acquire(timeout=10)
    client = app.test_client()
    body = {"image": "aGVsbG8="} if path == "/index" else None
    refused = client.post(path, json=body, data=None if body else {"image": upload(picture())})
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "1"
    assert refused.content_type == "application/problem+json"
    assert refused.json["type"] == "urn:emotion:problem:busy"
    # Reading goes on.
    assert client.get("/v1/images").status_code == 200
    assert client.get("/healthz").status_code == 200
    gate.set()
    thread.join(10)
    assert answers[0].status_code == 201
    assert client.post("/v1/images", data={"image": upload(picture())}).status_code == 201
    assert stored(app) == 2


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{"),
        ("multipart/form-data; boundary=x", b"no form"),
        ("image/png", b"no image"),
    ],
)
def test_without_a_slot_the_body_is_not_looked_at(make_app, gate, content_type, body):
    app = make_app(max_in_flight=1)
    thread = posting(app, [])
    assert gate.begun.acquire(timeout=10)
    refused = app.test_client().post("/v1/images", data=body, content_type=content_type)
    assert refused.json["type"] == "urn:emotion:problem:busy"
    gate.set()
    thread.join(10)
    answer = app.test_client().post("/v1/images", data=body, content_type=content_type)
    assert answer.status_code in (400, 415)


def test_a_larger_image_is_returned_annotated_and_smaller(make_app):
    client = make_app(max_drawn_pixels=2_500).test_client()
    for size, drawn in ((50, (50, 50)), (200, (100, 25)), (50, (50, 50))):
        answer = client.post(
            "/v1/images",
            data=picture(size, 50),
            content_type="image/png",
            headers={"Accept": "image/png"},
        )
        assert answer.status_code == 201
        assert Image.open(io.BytesIO(answer.data)).size == drawn


def test_so_many_streams_at_a_time(make_app):
    app = make_app()
    app.add_url_rule("/stream", "stream", lambda: Response(iter(["a"])))
    app.view_functions["stream"].right = PUBLIC
    open_streams = [app.test_client().get("/stream", buffered=False) for _ in range(MOST_STREAMS)]
    refused = app.test_client().get("/stream")
    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["X-Content-Type-Options"] == "nosniff"
    assert app.test_client().get("/healthz").status_code == 200
    for stream in open_streams:
        assert stream.status_code == 200
        stream.close()
    assert app.test_client().get("/stream").data == b"a"


def test_what_is_not_done_in_time_is_not_kept(make_app, gate):
    app = make_app(request_seconds=0.2, worker_threads=1)
    late = app.test_client().post("/v1/images", data={"image": upload(picture())})
    assert late.status_code == 503
    assert late.headers["Retry-After"] == "1"
    assert late.json["type"] == "urn:emotion:problem:took-too-long"
    gate.set()  # the work goes on to its end, and nobody keeps what it found
    assert (
        app.test_client().post("/v1/images", data={"image": upload(picture())}).status_code == 201
    )
    assert stored(app) == 1


def test_of_several_pictures_those_in_time_are_kept(make_app, gate):
    app = make_app(request_seconds=1, worker_threads=1)
    answers = []

    def post():
        form = {"image": [upload(picture(), "a.png"), upload(picture(), "b.png")]}
        answers.append(app.test_client().post("/v1/images", data=form))

    thread = threading.Thread(target=post)
    thread.start()
    assert gate.begun.acquire(timeout=10)
    gate.set()
    gate.clear()  # the first may or may not have passed; the second waits here
    thread.join(10)
    answer = answers[0]
    kept = len(answer.json.get("images", []))
    assert stored(app) == kept
    problems = answer.json["errors"]
    assert len(problems) == 2 - kept
    assert answer.status_code == (201 if kept else 503)


def test_the_time_that_sending_took_counts(make_app):
    app = make_app(request_seconds=0.1)

    app.before_request(lambda: threading.Event().wait(0.2) or None)
    answer = app.test_client().post("/v1/images", data=picture(), content_type="image/png")
    assert answer.status_code == 503
    assert answer.json["type"] == "urn:emotion:problem:took-too-long"


@pytest.fixture
def hasty(make_app):
    """Two requests an hour of each."""
    return make_app(rate_limit="2/hour")


def test_a_client_that_asks_too_often_is_told_how_often_it_may(hasty):
    client = hasty.test_client()
    left = [client.get("/v1/images").headers["RateLimit-Remaining"] for _ in range(2)]
    assert left == ["1", "0"]
    refused = client.post("/v1/images", data={"image": upload(picture())})
    assert refused.status_code == 429
    assert refused.json["type"] == "urn:emotion:problem:too-many-requests"
    assert "2 per 1 hour" in refused.json["detail"]
    assert refused.headers["RateLimit-Limit"] == "2"
    assert refused.headers["RateLimit-Remaining"] == "0"
    assert 1 <= int(refused.headers["RateLimit-Reset"]) <= 7200
    assert refused.headers["Retry-After"] == refused.headers["RateLimit-Reset"]
    assert stored(hasty) == 0


def test_what_needs_no_key_does_not_count_for_a_key(hasty):
    client = hasty.test_client()
    for _ in range(3):
        assert client.get("/v1/models").status_code == 200
    assert client.get("/v1/images").headers["RateLimit-Remaining"] == "1"


COSTLY = [
    *("/v1/models", "/v1/detectors", "/v1/pipelines", "/v1/aggregators"),
    *("/docs", "/openapi.json", "/metrics"),
]
FILES = ["/", "/assets/main.js", "/docs/start.js", "/docs/assets/swagger-ui.css"]


def codes(client, path, times, **more):
    answers = [client.get(path, **more) for _ in range(times)]
    for answer in answers:
        answer.close()
    return [answer.status_code for answer in answers]


@pytest.mark.parametrize("path", COSTLY)
def test_what_is_public_and_costs_is_limited(make_app, path):
    client = make_app(public_rate_limit="3/hour").test_client()
    assert codes(client, path, 2) == [200, 200]
    assert codes(client, "/v1/pipelines", 2) == [200, 429]  # all of it together
    refused = client.get(path)
    assert refused.status_code == 429
    assert refused.content_type == "application/problem+json"
    assert int(refused.headers["Retry-After"]) >= 1
    other = {"environ_overrides": {"REMOTE_ADDR": "192.0.2.9"}}
    assert codes(client, "/v1/models", 1, **other) == [200]
    # Neither what is always answered nor what has a limit of its own.
    assert codes(client, "/healthz", 5) == codes(client, "/readyz", 5) == [200] * 5
    assert codes(client, "/nope", 5) == [404] * 5
    assert codes(client, "/v1/images", 5) == [200] * 5


@pytest.mark.parametrize("path", FILES)
def test_files_of_the_page_may_be_asked_for_ten_times_as_often(make_app, path):
    client = make_app(public_rate_limit="1/hour").test_client()
    assert codes(client, path, 11) == [200] * 10 + [429]
    assert codes(client, "/v1/models", 1) == [200]


def test_what_is_public_is_limited_unless_told_otherwise(make_app, client):
    assert client.get("/v1/models").headers["RateLimit-Limit"] == "120"
    with client.get("/assets/main.js") as file:
        assert file.headers["RateLimit-Limit"] == "1200"
    free = make_app(public_rate_limit="").test_client()
    assert "RateLimit-Limit" not in free.get("/v1/models").headers


def test_a_new_public_route_is_limited_too(make_app):
    app = make_app(public_rate_limit="1/hour")
    app.add_url_rule("/new", view_func=needs(PUBLIC)(lambda: "done"))
    assert codes(app.test_client(), "/new", 2) == [200, 429]


def test_a_network_of_ipv6_is_one_client(make_app):
    client = make_app(public_rate_limit="2/hour").test_client()

    def ask(address):
        return client.get("/v1/models", environ_overrides={"REMOTE_ADDR": address}).status_code

    assert [ask(f"2001:db8:0:1:{n}::{n}") for n in range(3)] == [200, 200, 429]
    assert [ask("2001:db8:0:2::1"), ask("fe80::1%lo"), ask("fe80::2%lo")] == [200] * 3
    assert [ask("192.0.2.1"), ask("::ffff:192.0.2.1"), ask("192.0.2.1")] == [200, 200, 429]
    assert ask("192.0.2.2") == 200


def test_behind_a_proxy_the_forwarded_address_is_counted(make_app):
    client = make_app(proxies=1, public_rate_limit="1/hour").test_client()

    def ask(address):
        return client.get("/v1/models", headers={"X-Forwarded-For": address}).status_code

    assert [ask("192.0.2.1"), ask("192.0.2.1"), ask("192.0.2.2")] == [200, 429, 200]


def test_counters_of_any_number_of_addresses_take_bounded_memory(monkeypatch):
    monkeypatch.setattr(rates, "MOST_COUNTED", 20)
    storage = rates.BoundedMemoryStorage()
    for number in range(100):
        storage.incr(f"192.0.2.{number}", 3600)
    assert len(storage.storage) <= 20
    assert storage.get("192.0.2.99") == 1


def test_the_service_counts_in_bounded_memory(app):
    (limiter,) = app.extensions["limiter"]
    assert isinstance(limiter.storage, rates.BoundedMemoryStorage)


def test_each_key_has_a_count_of_its_own(hasty):
    make = hasty.test_cli_runner().invoke
    shown = [
        next(
            word
            for word in make(args=["keys", "create", name, "--right", "read"]).output.split()
            if "emo_" in word
        )
        for name in ("one", "two")
    ]
    client = hasty.test_client()

    def ask(key):
        headers = {"Authorization": f"Bearer {key}"}
        return client.get("/v1/images", headers=headers).status_code

    assert [ask(shown[0]) for _ in range(3)] == [200, 200, 429]
    assert [ask(shown[1]) for _ in range(3)] == [200, 200, 429]


def test_without_a_limit_nothing_is_counted(client):
    assert "RateLimit-Limit" not in client.get("/v1/images").headers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate_limit": "many"}, "EMOTION_RATE_LIMIT='many' is not of the form"),
        ({"public_rate_limit": "x"}, "EMOTION_PUBLIC_RATE_LIMIT='x' is not of the form"),
        (
            {"rate_limit": "5/hour", "rate_limit_url": "ftp://x"},
            "EMOTION_RATE_LIMIT_URL must be",
        ),
        (
            {"rate_limit": "5/hour", "rate_limit_url": "redis://:Sup/ersecret@127.0.0.1:6379/0"},
            "EMOTION_RATE_LIMIT_URL must be(?!.*Sup)",
        ),
    ],
)
def test_a_limit_that_means_nothing_stops_the_start(make_app, changes, message):
    with pytest.raises(SettingError, match=message):
        make_app(**changes)


def test_workers_that_count_in_redis_count_together(make_app, redis_url):
    apps = [make_app(rate_limit="3/hour", rate_limit_url=redis_url) for _ in range(2)]
    codes = [apps[n % 2].test_client().get("/v1/images").status_code for n in range(4)]
    assert codes == [200, 200, 200, 429]


def test_when_redis_is_away_each_worker_counts_by_itself(make_app):
    app = make_app(rate_limit="2/hour", rate_limit_url="redis://127.0.0.1:1")
    codes = [app.test_client().get("/v1/images").status_code for _ in range(3)]
    assert codes == [200, 200, 429]
