"""Idempotency-Key: a request that is sent again is answered again, not done again."""

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
from tests.conftest import picture, upload

KEY = {"Idempotency-Key": "8e03978e-40d5-43dd-bc93-6894a57f9324"}


def post(client, *datas, headers=KEY, query="", names=(), **fields):
    files = [upload(data, f"{number}.png") for number, data in enumerate(datas or (picture(100),))]
    files = [(data, name) for (data, _), name in zip(files, names, strict=True)] if names else files
    return client.post(f"/v1/images{query}", data={"image": files, **fields}, headers=headers)


def count(app, row=ImageRow):
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(row))


def test_a_retry_gets_the_answer_of_the_first_and_keeps_nothing_more(app, client):
    first, again = post(client), post(client)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json == first.json
    assert again.headers["Location"] == first.headers["Location"]
    assert [count(app, row) for row in (ImageRow, FaceRow, EmotionRow)] == [1, 2, 16]


def test_a_retry_is_not_analysed_again(app, client, monkeypatch):
    post(client)
    monkeypatch.setattr(app.extensions["engine"], "analyse", lambda *_, **__: pytest.fail("asked"))
    assert post(client).status_code == 201


def test_without_the_header_everything_is_new(app, client):
    for _ in range(2):
        post(client, headers={})
    assert count(app) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"threshold": "0.1"},
        {"model": "stub_5"},
        {"query": "?max_faces=1"},
        {"rotate": "auto"},
        {"datas": [picture(100, gray=10)]},
        {"datas": [picture(100), picture(100)]},
        {"names": ["other.png"]},
    ],
    ids=["threshold", "model", "option", "detection", "pixels", "number", "name"],
)
def test_the_same_key_with_another_request_is_refused(app, client, other):
    post(client, threshold="0.3")
    answer = post(client, *other.pop("datas", ()), **({"threshold": "0.3"} | other))
    assert answer.status_code == 409
    assert answer.json["type"] == "urn:emotion:problem:key-reused"
    assert count(app) == 1


def test_a_default_that_is_given_is_the_same_request(app, client):
    first = post(client)
    again = post(client, rotate="none", min_confidence="0", store="true", threshold="0.5")
    assert (again.status_code, again.json["id"]) == (201, first.json["id"])
    assert count(app) == 1


def test_the_bytes_of_the_form_need_not_be_the_same(app, client):
    body = b"--%s\r\nContent-Disposition: form-data; name=image; filename=a.png\r\n\r\n%s\r\n--%s--"
    ids = set()
    for boundary in (b"one", b"other"):
        answer = client.post(
            "/v1/images",
            data=body % (boundary, picture(), boundary),
            content_type=f"multipart/form-data; boundary={boundary.decode()}",
            headers=KEY,
        )
        ids.add(answer.json["id"])
    assert len(ids) == count(app) == 1


def test_it_may_be_looked_at_in_another_form(client):
    first = post(client)
    full = post(client, query="?view=full")
    assert full.json["id"] == first.json["id"]
    assert full.json["faces"][0]["emotions"]
    drawn = post(client, headers=KEY | {"Accept": "image/png"})
    assert drawn.status_code == 201
    assert drawn.data.startswith(b"\x89PNG")
    assert drawn.headers["Location"] == first.headers["Location"]


def test_of_several_pictures_each_is_kept_once(app, client):
    datas = [picture(50), b"no picture", picture(100)]
    first, again = post(client, *datas), post(client, *datas)
    assert again.json["images"] == first.json["images"]
    assert [error["index"] for error in again.json["errors"]] == [1]
    assert count(app) == 2


def test_what_failed_can_be_sent_again(app, client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(insertion, "remember", lambda *_: 1 / 0)
        assert post(client).status_code == 500
    assert (count(app), count(app, IdempotencyRow)) == (0, 0)
    assert post(client).status_code == 201
    assert count(app) == 1


def test_the_first_to_commit_wins(app, client, monkeypatch):
    """Both have looked and found nothing; one commits before the other."""
    first = post(client)
    real, looked = idempotency.image_id, []

    def looks_too_early(retry):
        looked.append(retry)
        return None if len(looked) == 1 else real(retry)

    monkeypatch.setattr(idempotency, "image_id", looks_too_early)
    again = post(client)
    assert len(looked) == 2
    assert (again.status_code, again.json["id"]) == (201, first.json["id"])
    assert [count(app, row) for row in (ImageRow, FaceRow, IdempotencyRow)] == [1, 2, 1]


def test_many_at_once_keep_one(app):
    def one(_):
        return post(app.test_client())

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(16)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert count(app) == 1


@pytest.fixture
def each_app(make_app, database_url):
    """An application on each database."""
    app = make_app(database_url=database_url)
    yield app
    with app.app_context():
        db.engine.dispose()


def at_once(*calls):
    """What the calls return that begin at the same moment, each in a thread of its own."""
    barrier = threading.Barrier(len(calls))

    def begin(call):
        barrier.wait(30)
        return call()

    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(begin, calls))


GOOD, OTHER, BAD = picture(100), picture(50), b"no picture"


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
def test_of_two_requests_at_once_under_one_key_one_wins_whole(each_app, batches):
    for number in range(4):
        headers = {"Idempotency-Key": f"round {number}"}
        send = partial(post, headers=headers)
        answers = at_once(*(partial(send, each_app.test_client(), *its) for its in batches))
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        (lost,) = (answer for answer in answers if answer.status_code == 409)
        assert lost.json["type"] == "urn:emotion:problem:key-reused"
        with each_app.app_context():
            query = select(IdempotencyRow.fingerprint).where(
                IdempotencyRow.key == headers["Idempotency-Key"]
            )
            assert len(set(db.session.scalars(query))) == 1
            db.session.remove()


def test_the_loser_is_told_409_whatever_its_first_image_is(app, client, monkeypatch):
    """It has looked before the winner committed."""
    assert post(client, GOOD, BAD).status_code == 201
    monkeypatch.setattr(idempotency, "image_id", lambda _: None)
    for datas in ([BAD, GOOD], [GOOD, GOOD], [OTHER]):
        assert post(client, *datas).status_code == 409
    assert count(app) == 1


def test_eight_equal_posts_at_once_make_one_row(each_app):
    answers = at_once(*[lambda: post(each_app.test_client())] * 8)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert count(each_app) == 1
    with each_app.app_context():
        db.session.remove()


def test_posts_that_race_with_erasures_are_answered_201(each_app):
    stop = threading.Event()

    def erase():
        client = each_app.test_client()
        while not stop.is_set():
            client.delete("/v1/images?since=2000-01-01T00:00:00Z")

    def insist():
        return [post(each_app.test_client()).status_code for _ in range(25)]

    eraser = threading.Thread(target=erase)
    eraser.start()
    try:
        statuses = {*itertools.chain(*at_once(insist, insist))}
    finally:
        stop.set()
        eraser.join(60)
    assert statuses == {201}


@pytest.mark.parametrize("accept", ["application/json", "image/png"])
def test_an_image_that_is_erased_between_two_looks_is_analysed_again(
    app, client, monkeypatch, accept
):
    first = post(client)
    real = idempotency.image_id

    def erased_after(retry):
        found = real(retry)
        if found:
            queries.erase(found)
        return found

    monkeypatch.setattr(idempotency, "image_id", erased_after)
    again = post(client, headers=KEY | {"Accept": accept})
    assert again.status_code == 201
    assert again.headers["Location"] != first.headers["Location"]
    assert count(app) == 1


def test_an_expired_record_is_not_replayed_though_nobody_has_removed_it(app, client):
    first = post(client, GOOD, OTHER)
    with app.app_context():
        old = datetime.now(UTC) - timedelta(days=1, seconds=1)
        db.session.execute(update(IdempotencyRow).values(created_at=old))
        db.session.commit()
    again = post(client, GOOD, OTHER)
    assert again.status_code == 201
    ids = [{image["id"] for image in answer.json["images"]} for answer in (first, again)]
    assert not ids[0] & ids[1]


def test_after_an_erasure_another_request_may_use_the_key(app, client):
    first = post(client)
    client.delete(first.headers["Location"])
    assert post(client, threshold="0.1").status_code == 201


def test_another_holder_of_the_same_key_and_image_sees_nothing_of_the_first(app, client):
    with app.app_context():
        mine, yours = (issue(name, [Right.ANALYSE]) for name in ("me", "you"))
    first = post(client, headers=KEY | {"Authorization": f"Bearer {mine}"})
    other = post(client, threshold="0.1", headers=KEY | {"Authorization": f"Bearer {yours}"})
    assert other.status_code == 201
    assert other.json["id"] != first.json["id"]


def test_after_a_day_the_key_is_free(app, client):
    first = post(client)
    with app.app_context():
        old = datetime.now(UTC) - timedelta(days=1, seconds=1)
        db.session.execute(update(IdempotencyRow).values(created_at=old))
        db.session.commit()
    other = post(client, threshold="0.1")
    assert other.status_code == 201
    assert other.json["id"] != first.json["id"]
    assert count(app, IdempotencyRow) == 1


def test_old_records_are_forgotten_in_passing(app, client, monkeypatch):
    post(client)
    post(client, headers={"Idempotency-Key": "young"})
    with app.app_context():
        old = datetime.now(UTC) - timedelta(days=1, seconds=1)
        its = update(IdempotencyRow).where(IdempotencyRow.key != "young")
        db.session.execute(its.values(created_at=old))
        db.session.commit()
    monkeypatch.setattr(queries, "MAINTENANCE_EVERY", 1)
    post(client, headers={})
    with app.app_context():
        assert db.session.scalars(select(IdempotencyRow.key)).all() == ["young"]


def test_erasing_an_image_erases_the_record(app, client):
    first = post(client)
    client.delete(first.headers["Location"])
    assert count(app, IdempotencyRow) == 0
    assert post(client).json["id"] != first.json["id"]


def test_the_keys_of_others_are_others(app, client):
    with app.app_context():
        mine, yours = (issue(name, [Right.ANALYSE]) for name in ("me", "you"))
    ids = [
        post(client, headers=KEY | {"Authorization": f"Bearer {key}"}).json["id"]
        for key in (mine, yours, mine)
    ]
    assert ids[0] == ids[2] != ids[1]


def test_what_is_not_stored_is_not_remembered(app, client):
    assert post(client, store="false").status_code == 200
    assert post(client, store="false", threshold="0.1").status_code == 200
    assert (count(app), count(app, IdempotencyRow)) == (0, 0)


def test_the_original_clients_call_knows_it_too(app, client):
    body = {"image": base64.b64encode(picture()).decode(), "threshold": 0.2, "file_name": "a.png"}
    first, again = (client.post("/index", json=body, headers=KEY) for _ in range(2))
    assert again.json == first.json
    assert client.post("/index", json=body | {"threshold": 0.3}, headers=KEY).status_code == 409
    assert count(app) == 1


@pytest.mark.parametrize("store", ["true", "false"])
@pytest.mark.parametrize("key", ["", "ü", "a" * 256, 'a"b', '"a'])
def test_what_is_no_key_is_refused(app, client, key, store):
    headers = {"Idempotency-Key": key.encode().decode("latin-1")}
    answer = post(client, headers=headers, store=store)
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json["detail"]
    assert count(app) == 0


def test_quotes_around_a_key_are_none_of_it(client):
    ids = {post(client, headers={"Idempotency-Key": key}).json["id"] for key in ("a", '"a"')}
    assert len(ids) == 1
