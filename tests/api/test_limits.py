"""Limits: slots of the work queue, deadlines, concurrent streams and rate limits."""

import io
import threading

import pytest
from flask import Response
from PIL import Image
from sqlalchemy import text

from app.api import rates
from app.api.access import PUBLIC, requires
from app.api.streams import MAX_STREAMS
from app.keys import issue
from app.settings import SettingError
from app.store.keys import Right
from app.store.tables import db
from tests.conftest import StubDetector, image_file, upload


@pytest.fixture
def gate(monkeypatch):
    """An event that detection waits for. `gate.started` counts the started detections."""
    gate = threading.Event()
    gate.started = threading.Semaphore(0)
    detect = StubDetector.detect

    def wait_and_detect(self, raster, min_face_px, deadline):
        gate.started.release()
        assert gate.wait(20)
        return detect(self, raster, min_face_px)

    monkeypatch.setattr(StubDetector, "detect", wait_and_detect)
    yield gate
    gate.set()


def post_in_thread(app, responses):
    """Post an image in a thread, which appends the response to `responses`."""

    def post():
        form = {"image": upload(image_file())}
        responses.append(app.test_client().post("/v1/images", data=form))

    thread = threading.Thread(target=post)
    thread.start()
    return thread


def count_images(app):
    with app.app_context():
        return db.session.execute(text("SELECT count(*) FROM images")).scalar_one()


@pytest.mark.parametrize("path", ["/v1/images", "/index"])
def test_full_queue_returns_503_with_retry_after(make_app, gate, path):
    app = make_app(max_in_flight=1)
    responses = []
    thread = post_in_thread(app, responses)
    assert gate.started.acquire(timeout=10)
    client = app.test_client()
    body = {"image": "aGVsbG8="} if path == "/index" else None
    rejected = client.post(path, json=body, data=None if body else {"image": upload(image_file())})
    assert rejected.status_code == 503
    assert rejected.headers["Retry-After"] == "1"
    assert rejected.content_type == "application/problem+json"
    assert rejected.json["type"] == "urn:emotion:problem:busy"
    # Requests that do not analyse still work.
    assert client.get("/v1/images").status_code == 200
    assert client.get("/healthz").status_code == 200
    gate.set()
    thread.join(10)
    assert responses[0].status_code == 201
    assert client.post("/v1/images", data={"image": upload(image_file())}).status_code == 201
    assert count_images(app) == 2


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{"),
        ("multipart/form-data; boundary=x", b"not a form"),
        ("image/png", b"no image"),
    ],
)
def test_body_is_not_parsed_without_a_slot(make_app, gate, content_type, body):
    app = make_app(max_in_flight=1)
    thread = post_in_thread(app, [])
    assert gate.started.acquire(timeout=10)
    rejected = app.test_client().post("/v1/images", data=body, content_type=content_type)
    assert rejected.json["type"] == "urn:emotion:problem:busy"
    gate.set()
    thread.join(10)
    response = app.test_client().post("/v1/images", data=body, content_type=content_type)
    assert response.status_code in (400, 415)


def test_large_annotated_image_is_scaled_down(make_app):
    client = make_app(max_drawn_pixels=2_500).test_client()
    for size, drawn in ((50, (50, 50)), (200, (100, 25)), (50, (50, 50))):
        response = client.post(
            "/v1/images",
            data=image_file(size, 50),
            content_type="image/png",
            headers={"Accept": "image/png"},
        )
        assert response.status_code == 201
        assert Image.open(io.BytesIO(response.data)).size == drawn


def test_concurrent_streams_are_limited(make_app):
    app = make_app()
    app.add_url_rule("/stream", "stream", lambda: Response(iter(["a"])))
    app.view_functions["stream"].right = PUBLIC
    open_streams = [app.test_client().get("/stream", buffered=False) for _ in range(MAX_STREAMS)]
    rejected = app.test_client().get("/stream")
    assert rejected.status_code == 503
    assert rejected.headers["Retry-After"] == "1"
    assert rejected.headers["X-Content-Type-Options"] == "nosniff"
    assert app.test_client().get("/healthz").status_code == 200
    for stream in open_streams:
        assert stream.status_code == 200
        stream.close()
    assert app.test_client().get("/stream").data == b"a"


def test_late_request_is_not_stored(make_app, gate):
    app = make_app(request_seconds=0.2, worker_threads=1)
    late = app.test_client().post("/v1/images", data={"image": upload(image_file())})
    assert late.status_code == 503
    assert late.headers["Retry-After"] == "1"
    assert late.json["type"] == "urn:emotion:problem:took-too-long"
    gate.set()  # the job finishes, and its result is discarded
    assert (
        app.test_client().post("/v1/images", data={"image": upload(image_file())}).status_code
        == 201
    )
    assert count_images(app) == 1


def test_images_of_batch_finished_in_time_are_stored(make_app, gate):
    app = make_app(request_seconds=1, worker_threads=1)
    responses = []

    def post():
        form = {"image": [upload(image_file(), "a.png"), upload(image_file(), "b.png")]}
        responses.append(app.test_client().post("/v1/images", data=form))

    thread = threading.Thread(target=post)
    thread.start()
    assert gate.started.acquire(timeout=10)
    gate.set()
    gate.clear()  # the first detection may have passed the gate; the second one waits
    thread.join(10)
    response = responses[0]
    analysed = len(response.json.get("images", []))
    assert count_images(app) == analysed
    problems = response.json["errors"]
    assert len(problems) == 2 - analysed
    assert response.status_code == (201 if analysed else 503)


def test_deadline_includes_time_before_the_view(make_app):
    app = make_app(request_seconds=0.1)
    app.before_request(lambda: threading.Event().wait(0.2) or None)
    response = app.test_client().post("/v1/images", data=image_file(), content_type="image/png")
    assert response.status_code == 503
    assert response.json["type"] == "urn:emotion:problem:took-too-long"


@pytest.fixture
def limited_app(make_app):
    """An application that allows two requests per hour and client."""
    return make_app(rate_limit="2/hour")


def test_rate_limit_returns_429_with_headers(limited_app):
    client = limited_app.test_client()
    remaining = [client.get("/v1/images").headers["RateLimit-Remaining"] for _ in range(2)]
    assert remaining == ["1", "0"]
    rejected = client.post("/v1/images", data={"image": upload(image_file())})
    assert rejected.status_code == 429
    assert rejected.json["type"] == "urn:emotion:problem:too-many-requests"
    assert "2 per 1 hour" in rejected.json["detail"]
    assert rejected.headers["RateLimit-Limit"] == "2"
    assert rejected.headers["RateLimit-Remaining"] == "0"
    assert 1 <= int(rejected.headers["RateLimit-Reset"]) <= 7200
    assert rejected.headers["Retry-After"] == rejected.headers["RateLimit-Reset"]
    assert count_images(limited_app) == 0


def test_public_requests_do_not_count_for_key_limit(limited_app):
    client = limited_app.test_client()
    for _ in range(3):
        assert client.get("/v1/models").status_code == 200
    assert client.get("/v1/images").headers["RateLimit-Remaining"] == "1"


PUBLIC_PATHS = [
    *("/v1/models", "/v1/detectors", "/v1/pipelines", "/v1/aggregators"),
    *("/docs", "/openapi.json", "/metrics"),
]
PAGE_FILES = ["/", "/assets/main.js", "/docs/start.js", "/docs/assets/swagger-ui.css"]


def status_codes(client, path, times, **options):
    responses = [client.get(path, **options) for _ in range(times)]
    for response in responses:
        response.close()
    return [response.status_code for response in responses]


@pytest.mark.parametrize("path", PUBLIC_PATHS)
def test_public_routes_share_a_rate_limit(make_app, path):
    client = make_app(public_rate_limit="3/hour").test_client()
    assert status_codes(client, path, 2) == [200, 200]
    assert status_codes(client, "/v1/pipelines", 2) == [200, 429]  # the limit is for all together
    rejected = client.get(path)
    assert rejected.status_code == 429
    assert rejected.content_type == "application/problem+json"
    assert int(rejected.headers["Retry-After"]) >= 1
    other = {"environ_overrides": {"REMOTE_ADDR": "192.0.2.9"}}
    assert status_codes(client, "/v1/models", 1, **other) == [200]
    # Probes, unknown routes and protected routes are not affected by this limit.
    assert status_codes(client, "/healthz", 5) == [200] * 5
    assert status_codes(client, "/readyz", 5) == [200] * 5
    assert status_codes(client, "/nope", 5) == [404] * 5
    assert status_codes(client, "/v1/images", 5) == [200] * 5


@pytest.mark.parametrize("path", PAGE_FILES)
def test_page_files_have_ten_times_the_limit(make_app, path):
    client = make_app(public_rate_limit="1/hour").test_client()
    assert status_codes(client, path, 11) == [200] * 10 + [429]
    assert status_codes(client, "/v1/models", 1) == [200]


def test_public_routes_are_limited_by_default(make_app, client):
    assert client.get("/v1/models").headers["RateLimit-Limit"] == "120"
    with client.get("/assets/main.js") as file:
        assert file.headers["RateLimit-Limit"] == "1200"
    unlimited = make_app(public_rate_limit="").test_client()
    assert "RateLimit-Limit" not in unlimited.get("/v1/models").headers


def test_new_public_route_is_limited(make_app):
    app = make_app(public_rate_limit="1/hour")
    app.add_url_rule("/new", view_func=requires(PUBLIC)(lambda: "done"))
    assert status_codes(app.test_client(), "/new", 2) == [200, 429]


def test_ipv6_network_counts_as_one_client(make_app):
    client = make_app(public_rate_limit="2/hour").test_client()

    def ask(address):
        return client.get("/v1/models", environ_overrides={"REMOTE_ADDR": address}).status_code

    assert [ask(f"2001:db8:0:1:{n}::{n}") for n in range(3)] == [200, 200, 429]
    assert [ask("2001:db8:0:2::1"), ask("fe80::1%lo"), ask("fe80::2%lo")] == [200] * 3
    assert [ask("192.0.2.1"), ask("::ffff:192.0.2.1"), ask("192.0.2.1")] == [200, 200, 429]
    assert ask("192.0.2.2") == 200


def test_rate_limit_counts_forwarded_address_behind_proxy(make_app):
    client = make_app(proxies=1, public_rate_limit="1/hour").test_client()

    def ask(address):
        return client.get("/v1/models", headers={"X-Forwarded-For": address}).status_code

    assert [ask("192.0.2.1"), ask("192.0.2.1"), ask("192.0.2.2")] == [200, 429, 200]


def test_storage_evicts_oldest_counters(monkeypatch):
    monkeypatch.setattr(rates, "MAX_COUNTERS", 20)
    storage = rates.BoundedMemoryStorage()
    for number in range(100):
        storage.incr(f"192.0.2.{number}", 3600)
    assert len(storage.storage) <= 20
    assert storage.get("192.0.2.99") == 1


def test_service_uses_bounded_storage(app):
    (limiter,) = app.extensions["limiter"]
    assert isinstance(limiter.storage, rates.BoundedMemoryStorage)


def test_requests_are_counted_per_key(limited_app):
    with limited_app.app_context():
        keys = [issue(name, [Right.READ]) for name in ("one", "two")]
    client = limited_app.test_client()

    def ask(key):
        headers = {"Authorization": f"Bearer {key}"}
        return client.get("/v1/images", headers=headers).status_code

    assert [ask(keys[0]) for _ in range(3)] == [200, 200, 429]
    assert [ask(keys[1]) for _ in range(3)] == [200, 200, 429]


def test_no_limit_headers_without_limit(client):
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
def test_invalid_limit_fails_startup(make_app, changes, message):
    with pytest.raises(SettingError, match=message):
        make_app(**changes)


def test_workers_share_counters_in_redis(make_app, redis_url):
    apps = [make_app(rate_limit="3/hour", rate_limit_url=redis_url) for _ in range(2)]
    statuses = [apps[n % 2].test_client().get("/v1/images").status_code for n in range(4)]
    assert statuses == [200, 200, 200, 429]


def test_worker_counts_by_itself_while_redis_is_unreachable(make_app):
    app = make_app(rate_limit="2/hour", rate_limit_url="redis://127.0.0.1:1")
    statuses = [app.test_client().get("/v1/images").status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
