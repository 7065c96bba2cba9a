"""Group mood over HTTP: of one image, of a page of images, and over time."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from app.keys import issue
from app.store import queries, summary
from app.store.keys import Right
from app.store.tables import db
from app.vision.aggregators import AGGREGATORS, DEFAULT
from app.vision.types import Analysis, Box, Face, ModelRef, Scores
from tests.conftest import LABELS, image_file, upload

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
TWO_FACES = image_file(100, gray=250)
EMPTY = image_file(20, 20)


def face(x=0.0, size=10.0, score=0.9, labels=LABELS, **probabilities):
    """A face with these probabilities. The other labels share the rest equally."""
    rest = (1 - sum(probabilities.values())) / (len(labels) - len(probabilities))
    scores = {label: probabilities.get(label, rest) for label in labels}
    return Face(Box(x, 0, x + size, size), Scores(scores), score)


HAPPY = face(happiness=0.93)
ANGRY = face(x=20, size=30, score=0.6, anger=0.72)


@pytest.fixture
def save(app):
    """A function that stores an image with these faces and returns the image id."""

    def save(*faces, minutes=0, model="net_8"):
        analysis = Analysis(
            "a.jpg", 0.5, 300, 200, faces, ModelRef(model, "1", "0" * 64), "haar",
            created_at=NOON + timedelta(minutes=minutes),
        )  # fmt: skip
        with app.app_context():
            return queries.save(analysis).id

    return save


@contextmanager
def recorded_statements(app):
    """Record the SQL statements in the body of the `with` statement."""
    statements = []

    def record(_connection, _cursor, statement, *_):
        statements.append(statement)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", record)
    yield statements
    event.remove(engine, "before_cursor_execute", record)


def post(client, data=TWO_FACES, headers=None, **fields):
    form = {"image": upload(data, "a.png"), **fields}
    return client.post("/v1/images", data=form, headers=headers)


def test_mood_of_stored_image(client, save):
    image_id = save(HAPPY, ANGRY)
    mood = client.get(f"/v1/images/{image_id}/mood?aggregator=size").json
    assert list(mood) == [
        "mood", "distribution", "agreement", "valence", "aggregator", "shares", "faces", "left_out",
    ]  # fmt: skip
    assert (mood["mood"], mood["aggregator"]) == ("anger", "size")
    assert mood["faces"] == [
        {"face_id": 1, "weight": 0.25, "dominant": "happiness"},
        {"face_id": 2, "weight": 0.75, "dominant": "anger"},
    ]
    assert mood["distribution"]["anger"] == pytest.approx(0.25 * 0.01 + 0.75 * 0.72)
    assert sum(mood["distribution"].values()) == pytest.approx(1)
    assert mood["valence"]["positive"] == pytest.approx(0.25 * 0.93 + 0.75 * 0.04)
    assert mood["shares"] == {**dict.fromkeys(LABELS, 0), "happiness": 0.5, "anger": 0.5}
    assert 0 < mood["agreement"] < 1
    assert mood["left_out"] == []


@pytest.mark.parametrize("aggregator", AGGREGATORS)
def test_each_aggregator_returns_a_mood(client, save, aggregator):
    image_id = save(HAPPY, ANGRY)
    response = client.get(f"/v1/images/{image_id}/mood?aggregator={aggregator}")
    assert response.status_code == 200
    assert response.json["mood"] in ("happiness", "anger")


def test_aggregator_defaults_to_default(client, save):
    image_id = save(HAPPY)
    assert client.get(f"/v1/images/{image_id}/mood").json["aggregator"] == DEFAULT


def test_filtered_faces_are_listed_in_left_out(client, save):
    path = f"/v1/images/{save(HAPPY, ANGRY, face(x=60, size=30, score=None, fear=0.9))}/mood"
    mood = client.get(f"{path}?min_face_px=30&min_confidence=0.7").json
    assert [each["face_id"] for each in mood["faces"]] == [3]
    assert mood["left_out"] == [
        {"face_id": 1, "reason": "min_face_px"},
        {"face_id": 2, "reason": "min_confidence"},
    ]
    assert mood["mood"] == "fear"


def test_mood_is_null_without_usable_faces(client, save):
    image_id = save()
    no_mood = {
        "mood": None, "distribution": {}, "agreement": None, "valence": {}, "aggregator": "vote",
        "shares": {}, "faces": [], "left_out": [],
    }  # fmt: skip
    assert client.get(f"/v1/images/{image_id}/mood?aggregator=vote").json == no_mood
    filtered = client.get(f"/v1/images/{save(HAPPY)}/mood?aggregator=vote&min_face_px=11").json
    assert filtered == {**no_mood, "left_out": [{"face_id": 1, "reason": "min_face_px"}]}


def test_mood_has_labels_of_model(client):
    image = post(client, model="stub_5", mood="mean").json
    assert list(image["mood"]["distribution"]) == list(LABELS[:5])
    assert sum(image["mood"]["valence"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/images/{}/mood?aggregator=average", "aggregator"),
        ("/v1/images/{}/mood?aggregator=", "aggregator"),
        ("/v1/images/{}?mood=average", "mood"),
        ("/v1/images?mood=average", "mood"),
        ("/v1/summary?mood=average", "mood"),
    ],
)
def test_unknown_aggregator_returns_422_with_known_names(client, save, path, field):
    response = client.get(path.format(save(HAPPY)))
    assert response.status_code == 422
    assert response.json["errors"][0]["field"] == field
    assert all(name in response.json["detail"] for name in AGGREGATORS)


def test_post_with_unknown_aggregator_stores_nothing(client):
    response = post(client, mood="average")
    assert (response.status_code, response.json["errors"][0]["field"]) == (422, "mood")
    assert "quality" in response.json["detail"]
    assert client.get("/v1/images").json["images"] == []


@pytest.mark.parametrize(
    "query",
    [
        "min_face_px=-1", "min_face_px=nan", "min_face_px=inf", "min_face_px=many",
        "min_confidence=-0.1", "min_confidence=1.1", "min_confidence=nan", "min_faces=1",
    ],
)  # fmt: skip
def test_invalid_mood_filter_returns_422(client, save, query):
    response = client.get(f"/v1/images/{save(HAPPY)}/mood?{query}")
    assert response.status_code == 422
    assert response.json["errors"][0]["field"] == query.partition("=")[0]


def test_mood_of_unknown_image_returns_404(client):
    assert client.get("/v1/images/7/mood").status_code == 404


def test_faces_reject_mood_option(client):
    assert client.get("/v1/faces?mood=mean").status_code == 422


def test_image_has_mood_only_with_mood_option(client):
    assert "mood" not in post(client).json
    image = post(client, mood="quality").json
    assert image["mood"] == client.get(f"/v1/images/{image['id']}/mood?aggregator=quality").json
    assert client.get(f"/v1/images/{image['id']}?mood=quality").json == image


def test_mood_is_returned_with_store_false(client):
    response = post(client, mood="vote", store="false")
    assert response.status_code == 200
    assert response.json["mood"]["mood"] == "happiness"
    assert client.get("/v1/images").json["images"] == []


def test_mood_of_posted_image_without_faces_is_null(client):
    assert post(client, EMPTY, mood="mean").json["mood"]["mood"] is None


def test_each_image_of_batch_has_its_mood(client):
    files = [upload(TWO_FACES, "a.png"), upload(EMPTY, "b.png")]
    images = client.post("/v1/images", data={"image": files, "mood": "mean"}).json["images"]
    assert [image["mood"]["mood"] for image in images] == ["happiness", None]


def test_replay_returns_same_mood(client):
    key = {"Idempotency-Key": "one"}
    first, replay = (post(client, headers=key, mood="logpool") for _ in range(2))
    assert replay.json == first.json
    assert len(first.json["mood"]["faces"]) == 2
    # The fingerprint of a request does not contain the mood option.
    other_mood = post(client, headers=key, mood="vote").json
    assert (other_mood["id"], other_mood["mood"]["aggregator"]) == (first.json["id"], "vote")


def test_each_image_of_page_has_its_mood(client, save):
    save(HAPPY), save(), save(ANGRY, ANGRY, HAPPY)
    images = client.get("/v1/images?mood=vote").json["images"]
    assert {image["id"]: image["mood"]["mood"] for image in images} == {
        1: "happiness",
        2: None,
        3: "anger",
    }
    assert all("mood" not in image for image in client.get("/v1/images").json["images"])


def test_moods_need_no_additional_sql_statement(app, client, save):
    for minute in range(50):
        save(HAPPY, ANGRY, minutes=minute)
    counts = {}
    for path in ("?page_size=1", "?page_size=50", "?page_size=50&mood=quality", "/1", "/1/mood"):
        with recorded_statements(app) as statements:
            assert client.get(f"/v1/images{path}").status_code == 200
        tables = ("FROM images", "FROM faces", "FROM emotions", "FROM faces JOIN")
        counts[path] = sum(any(table in each for table in tables) for each in statements)
    # One statement each for images, faces and emotions. A page has one more, which finds the ids.
    assert (counts.pop("/1"), counts.pop("/1/mood")) == (3, 3)
    assert set(counts.values()) == {4}


def test_summary_has_mean_mood_of_images(client, save):
    save(HAPPY, HAPPY, HAPPY), save(ANGRY, minutes=10), save(minutes=20)
    save(ANGRY, HAPPY, minutes=60)
    save(minutes=120)
    noon, one, two = client.get("/v1/summary?by=hour&mood=mean").json["spans"]
    assert (noon["images"], noon["faces"]) == (3, 4)
    mood = noon["mood"]
    assert (mood["mood"], mood["images"]) == ("happiness", 2)
    # Images have the same weight: one has three happy faces, the other one angry face.
    assert mood["distribution"]["happiness"] == pytest.approx((0.93 + 0.04) / 2)
    assert mood["distribution"]["anger"] == pytest.approx((0.01 + 0.72) / 2)
    assert (mood["shares"]["happiness"], mood["shares"]["anger"]) == (0.5, 0.5)
    assert sum(mood["distribution"].values()) == pytest.approx(1)
    assert sum(mood["valence"].values()) == pytest.approx(1)
    assert one["mood"]["images"] == 1
    assert two["mood"] == {
        "mood": None, "images": 0, "distribution": {}, "agreement": None, "valence": {},
        "shares": {},
    }  # fmt: skip
    (day,) = client.get("/v1/summary?by=day&mood=most_negative").json["spans"]
    assert (day["mood"]["mood"], day["mood"]["images"]) == ("anger", 3)


def test_summary_mood_respects_filters_on_images(client, save):
    save(HAPPY), save(ANGRY, minutes=60, model="net_5"), save(HAPPY, ANGRY, minutes=90)
    until = "until=2026-05-04T13:30:00Z"
    (day,) = client.get(f"/v1/summary?mood=mean&{until}&since=2026-05-04T12:30:00Z").json["spans"]
    assert (day["mood"]["mood"], day["mood"]["images"]) == ("anger", 1)
    models = client.get("/v1/summary?by=model&mood=vote").json["spans"]
    assert [(each["span"], each["mood"]["images"]) for each in models] == [
        ("net_5", 1),
        ("net_8", 2),
    ]


def test_face_filter_does_not_remove_faces_from_mood(client, save):
    save(HAPPY, ANGRY), save(HAPPY)
    (day,) = client.get("/v1/summary?mood=vote&emotion=anger").json["spans"]
    assert (day["images"], day["faces"]) == (1, 1)
    assert day["mood"]["images"] == 1
    assert day["mood"]["distribution"]["happiness"] == 0.5


@pytest.mark.parametrize("limit", [{"MAX_MOOD_IMAGES": 2}, {"MAX_MOOD_FACES": 5}], ids=str)
def test_too_many_images_for_mood_return_422_with_advice(client, save, monkeypatch, limit):
    for minutes in (0, 60, 120):
        save(HAPPY, ANGRY, minutes=minutes)
    save(minutes=180)  # an image without faces does not count
    for name, value in limit.items():
        monkeypatch.setattr(summary, name, value)
    response = client.get("/v1/summary?mood=mean")
    assert (response.status_code, response.json["errors"][0]["field"]) == (422, "since")
    assert "since and until" in response.json["detail"]
    assert client.get("/v1/summary?by=day").status_code == 200
    later = client.get("/v1/summary?mood=mean&since=2026-05-04T12:30:00Z").json["spans"]
    assert later[0]["mood"]["images"] == 2


def test_summary_mood_reads_images_in_batches(app, client, save, monkeypatch):
    for minutes in range(5):
        save(HAPPY if minutes % 2 else ANGRY, ANGRY, minutes=minutes)
    expected = client.get("/v1/summary?mood=mean").json
    monkeypatch.setattr(summary, "BATCH_IMAGES", 2)
    with recorded_statements(app) as statements:
        assert client.get("/v1/summary?mood=mean").json == expected
    assert sum("emotions.probability" in each and " IN (" in each for each in statements) == 3
    assert expected["spans"][0]["mood"]["images"] == 5


def test_mood_requires_read_right(app, client, save):
    image_id = save(HAPPY)
    with app.app_context():
        token = issue("camera", {Right.ANALYSE})
    headers = {"Authorization": f"Bearer {token}"}
    assert client.get(f"/v1/images/{image_id}/mood", headers=headers).status_code == 403


def test_openapi_document_lists_aggregators(client):
    paths = client.get("/openapi.json").json["paths"]
    for path, name in (
        ("/v1/images/{image_id}/mood", "aggregator"),
        ("/v1/images", "mood"),
        ("/v1/summary", "mood"),
    ):
        parameters = {each["name"]: each for each in paths[path]["get"]["parameters"]}
        assert parameters[name]["schema"]["enum"] == list(AGGREGATORS)
    posted = {each["name"]: each for each in paths["/v1/images"]["post"]["parameters"]}
    assert posted["mood"]["schema"]["enum"] == list(AGGREGATORS)
