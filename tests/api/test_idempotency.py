"""Idempotency-Key: a repeated request returns the stored result and stores nothing new."""

import base64
import concurrent.futures
import itertools
import threading
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import func, select, update

from app.keys import issue
from app.store import idempotency, insertion, queries
from app.store.keys import Right
from app.store.tables import EmotionRow, FaceRow, IdempotencyRow, ImageRow, db
from tests.conftest import image_file, upload

KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}


def post(client, *images, headers=KEY, query="", names=(), **fields):
    images = images or (image_file(100),)
    names = names or [f"{number}.png" for number in range(len(images))]
    files = [upload(data, name) for data, name in zip(images, names, strict=True)]
    return client.post(f"/v1/images{query}", data={"image": files, **fields}, headers=headers)


def count(app, row=ImageRow):
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(row))


def test_replay_returns_first_response_and_stores_nothing(app, client):
    first, replay = post(client), post(client)
    assert (first.status_code, replay.status_code) == (201, 201)
    assert replay.json == first.json
    assert replay.headers["Location"] == first.headers["Location"]
    assert [count(app, row) for row in (ImageRow, FaceRow, EmotionRow)] == [1, 2, 16]


def test_replay_does_not_analyse(app, client, monkeypatch):
    post(client)
    monkeypatch.setattr(app.extensions["engine"], "analyse", lambda *_, **__: pytest.fail("called"))
    assert post(client).status_code == 201


def test_requests_without_key_are_stored_separately(app, client):
    for _ in range(2):
        post(client, headers={})
    assert count(app) == 2


@pytest.mark.parametrize(
    "difference",
    [
        {"threshold": "0.1"},
        {"model": "stub_5"},
        {"query": "?max_faces=1"},
        {"rotate": "auto"},
        {"images": [image_file(100, gray=10)]},
        {"images": [image_file(100), image_file(100)]},
        {"names": ["other.png"]},
    ],
    ids=["threshold", "model", "option", "detection", "pixels", "number", "name"],
)
def test_key_with_another_request_returns_409(app, client, difference):
    post(client, threshold="0.3")
    options = {"threshold": "0.3"} | difference
    response = post(client, *options.pop("images", ()), **options)
    assert response.status_code == 409
    assert response.json["type"] == "urn:emotion:problem:key-reused"
    assert count(app) == 1


def test_explicit_defaults_do_not_change_fingerprint(app, client):
    first = post(client)
    replay = post(client, rotate="none", min_confidence="0", store="true", threshold="0.5")
    assert (replay.status_code, replay.json["id"]) == (201, first.json["id"])
    assert count(app) == 1


def test_fingerprint_does_not_depend_on_form_boundary(app, client):
    body = b"--%s\r\nContent-Disposition: form-data; name=image; filename=a.png\r\n\r\n%s\r\n--%s--"
    ids = set()
    for boundary in (b"one", b"other"):
        response = client.post(
            "/v1/images",
            data=body % (boundary, image_file(), boundary),
            content_type=f"multipart/form-data; boundary={boundary.decode()}",
            headers=KEY,
        )
        ids.add(response.json["id"])
    assert len(ids) == count(app) == 1


def test_replay_accepts_another_view_or_format(client):
    first = post(client)
    full = post(client, query="?view=full")
    assert full.json["id"] == first.json["id"]
    assert full.json["faces"][0]["emotions"]
    drawn = post(client, headers=KEY | {"Accept": "image/png"})
    assert drawn.status_code == 201
    assert drawn.data.startswith(b"\x89PNG")
    assert drawn.headers["Location"] == first.headers["Location"]


def test_replay_of_batch_stores_nothing(app, client):
    images = [image_file(50), b"no image", image_file(100)]
    first, replay = post(client, *images), post(client, *images)
    assert replay.json["images"] == first.json["images"]
    assert [error["index"] for error in replay.json["errors"]] == [1]
    assert count(app) == 2


def test_failed_request_can_be_repeated(app, client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(insertion, "insert_record", lambda *_: 1 / 0)
        assert post(client).status_code == 500
    assert (count(app), count(app, IdempotencyRow)) == (0, 0)
    assert post(client).status_code == 201
    assert count(app) == 1


def test_first_commit_wins(app, client, monkeypatch):
    """Two requests find no record, and then one of them commits first."""
    first = post(client)
    real, lookups = idempotency.image_id, []

    def miss_first_lookup(request):
        lookups.append(request)
        return None if len(lookups) == 1 else real(request)

    monkeypatch.setattr(idempotency, "image_id", miss_first_lookup)
    second = post(client)
    assert len(lookups) == 2
    assert (second.status_code, second.json["id"]) == (201, first.json["id"])
    assert [count(app, row) for row in (ImageRow, FaceRow, IdempotencyRow)] == [1, 2, 1]


def test_concurrent_equal_requests_store_one_image(app):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda _: post(app.test_client()), range(16)))
    assert {response.status_code for response in responses} == {201}
    assert len({response.json["id"] for response in responses}) == 1
    assert count(app) == 1


@pytest.fixture
def each_app(make_app, database_url):
    """An application with SQLite, and one with PostgreSQL."""
    app = make_app(database_url=database_url)
    yield app
    with app.app_context():
        db.engine.dispose()


def run_concurrently(*calls):
    """Start the calls at the same time, each in a thread, and return the results."""
    barrier = threading.Barrier(len(calls))

    def run(call):
        barrier.wait(30)
        return call()

    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


GOOD, OTHER, BAD = image_file(100), image_file(50), b"no image"


@pytest.mark.parametrize(
    "batches",
    [
        ([GOOD, BAD], [BAD, GOOD]),
        ([GOOD, OTHER], [OTHER, GOOD]),
        ([GOOD, BAD, OTHER], [BAD, BAD, OTHER]),
        ([GOOD], [BAD, GOOD]),
        ([GOOD], [OTHER]),
    ],
    ids=["good bad", "both good", "three", "one and two", "singles"],
)
def test_one_of_two_concurrent_batches_wins_completely(each_app, batches):
    for number in range(4):
        headers = {"Idempotency-Key": f"round {number}"}
        send = partial(post, headers=headers)
        responses = run_concurrently(
            *(partial(send, each_app.test_client(), *images) for images in batches)
        )
        assert sorted(response.status_code for response in responses) == [201, 409]
        (conflict,) = (response for response in responses if response.status_code == 409)
        assert conflict.json["type"] == "urn:emotion:problem:key-reused"
        with each_app.app_context():
            query = select(IdempotencyRow.fingerprint).where(
                IdempotencyRow.key == headers["Idempotency-Key"]
            )
            assert len(set(db.session.scalars(query))) == 1
            db.session.remove()


def test_losing_batch_returns_409_with_any_first_image(app, client, monkeypatch):
    """The losing request looked for a record before the winner committed."""
    assert post(client, GOOD, BAD).status_code == 201
    monkeypatch.setattr(idempotency, "image_id", lambda _: None)
    for images in ([BAD, GOOD], [GOOD, GOOD], [OTHER]):
        assert post(client, *images).status_code == 409
    assert count(app) == 1


def test_concurrent_equal_posts_store_one_row(each_app):
    responses = run_concurrently(*[lambda: post(each_app.test_client())] * 8)
    assert {response.status_code for response in responses} == {201}
    assert len({response.json["id"] for response in responses}) == 1
    assert count(each_app) == 1
    with each_app.app_context():
        db.session.remove()


def test_posts_concurrent_with_erasures_return_201(each_app):
    stop = threading.Event()

    def erase():
        client = each_app.test_client()
        while not stop.is_set():
            client.delete("/v1/images?since=2000-01-01T00:00:00Z")

    def post_repeatedly():
        return [post(each_app.test_client()).status_code for _ in range(25)]

    eraser = threading.Thread(target=erase)
    eraser.start()
    try:
        statuses = {*itertools.chain(*run_concurrently(post_repeatedly, post_repeatedly))}
    finally:
        stop.set()
        eraser.join(60)
    assert statuses == {201}


@pytest.mark.parametrize("accept", ["application/json", "image/png"])
def test_image_erased_during_replay_is_analysed_again(app, client, monkeypatch, accept):
    first = post(client)
    real = idempotency.image_id

    def erase_after_lookup(request):
        image_id = real(request)
        if image_id:
            queries.erase(image_id)
        return image_id

    monkeypatch.setattr(idempotency, "image_id", erase_after_lookup)
    second = post(client, headers=KEY | {"Accept": accept})
    assert second.status_code == 201
    assert second.headers["Location"] != first.headers["Location"]
    assert count(app) == 1


def test_expired_record_is_not_replayed(app, client):
    first = post(client, GOOD, OTHER)
    with app.app_context():
        expired = datetime.now(UTC) - timedelta(days=1, seconds=1)
        db.session.execute(update(IdempotencyRow).values(created_at=expired))
        db.session.commit()
    second = post(client, GOOD, OTHER)
    assert second.status_code == 201
    ids = [{image["id"] for image in response.json["images"]} for response in (first, second)]
    assert not ids[0] & ids[1]


def test_key_can_be_reused_after_erasure(app, client):
    first = post(client)
    client.delete(first.headers["Location"])
    assert post(client, threshold="0.1").status_code == 201


def test_idempotency_key_of_another_api_key_is_independent(app, client):
    with app.app_context():
        api_keys = [issue(name, [Right.ANALYSE]) for name in ("one", "two")]
    first, second = (
        post(client, threshold=threshold, headers=KEY | {"Authorization": f"Bearer {api_key}"})
        for threshold, api_key in zip(("0.5", "0.1"), api_keys, strict=True)
    )
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json["id"] != first.json["id"]


def test_key_can_be_reused_after_a_day(app, client):
    first = post(client)
    with app.app_context():
        expired = datetime.now(UTC) - timedelta(days=1, seconds=1)
        db.session.execute(update(IdempotencyRow).values(created_at=expired))
        db.session.commit()
    second = post(client, threshold="0.1")
    assert second.status_code == 201
    assert second.json["id"] != first.json["id"]
    assert count(app, IdempotencyRow) == 1


def test_maintenance_removes_expired_records(app, client, monkeypatch):
    post(client)
    post(client, headers={"Idempotency-Key": "new"})
    with app.app_context():
        expired = datetime.now(UTC) - timedelta(days=1, seconds=1)
        old_records = update(IdempotencyRow).where(IdempotencyRow.key != "new")
        db.session.execute(old_records.values(created_at=expired))
        db.session.commit()
    monkeypatch.setattr(queries, "MAINTENANCE_EVERY", 1)
    post(client, headers={})
    with app.app_context():
        assert db.session.scalars(select(IdempotencyRow.key)).all() == ["new"]


def test_erasing_an_image_erases_the_record(app, client):
    first = post(client)
    client.delete(first.headers["Location"])
    assert count(app, IdempotencyRow) == 0
    assert post(client).json["id"] != first.json["id"]


def test_replay_uses_records_of_its_own_api_key(app, client):
    with app.app_context():
        one, two = (issue(name, [Right.ANALYSE]) for name in ("one", "two"))
    ids = [
        post(client, headers=KEY | {"Authorization": f"Bearer {api_key}"}).json["id"]
        for api_key in (one, two, one)
    ]
    assert ids[0] == ids[2] != ids[1]


def test_request_without_storing_is_not_recorded(app, client):
    assert post(client, store="false").status_code == 200
    assert post(client, store="false", threshold="0.1").status_code == 200
    assert (count(app), count(app, IdempotencyRow)) == (0, 0)


def test_post_index_supports_idempotency_key(app, client):
    body = {
        "image": base64.b64encode(image_file()).decode(),
        "threshold": 0.2,
        "file_name": "a.png",
    }
    first, replay = (client.post("/index", json=body, headers=KEY) for _ in range(2))
    assert replay.json == first.json
    assert client.post("/index", json=body | {"threshold": 0.3}, headers=KEY).status_code == 409
    assert count(app) == 1


@pytest.mark.parametrize("store", ["true", "false"])
@pytest.mark.parametrize("key", ["", "ü", "a" * 256, 'a"b', '"a'])
def test_invalid_idempotency_key_returns_400(app, client, key, store):
    headers = {"Idempotency-Key": key.encode().decode("latin-1")}
    response = post(client, headers=headers, store=store)
    assert response.status_code == 400
    assert "Idempotency-Key" in response.json["detail"]
    assert count(app) == 0


def test_quotes_around_key_are_ignored(client):
    ids = {post(client, headers={"Idempotency-Key": key}).json["id"] for key in ("a", '"a"')}
    assert len(ids) == 1
