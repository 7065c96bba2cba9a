"""Group mood through HTTP: one image, a page of them, and over time."""

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
from tests.conftest import LABELS, picture, upload

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
TWO_FACES = picture(100, gray=250)
EMPTY = picture(20, 20)


def face(x=0.0, size=10.0, score=0.9, labels=LABELS, **shares):
    rest = (1 - sum(shares.values())) / (len(labels) - len(shares))
    named = {label: shares.get(label, rest) for label in labels}
    return Face(Box(x, 0, x + size, size), Scores(named), score)


HAPPY = face(happiness=0.93)
ANGRY = face(x=20, size=30, score=0.6, anger=0.72)


@pytest.fixture
def save(app):
    """Stores an image with these faces and gives its id."""

    def save(*faces, minutes=0, model="net_8"):
        made = Analysis(
            "a.jpg", 0.5, 300, 200, faces, ModelRef(model, "1", "0" * 64), "haar",
            created_at=NOON + timedelta(minutes=minutes),
        )  # fmt: skip
        with app.app_context():
            return queries.save(made).id

    return save


@contextmanager
def counted(app):
    """The statements that the database is asked meanwhile."""
    asked = []
    listener = lambda *args: asked.append(args[2])  # noqa: E731
    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", listener)
    yield asked
    event.remove(engine, "before_cursor_execute", listener)


def post(client, data=TWO_FACES, headers=None, **fields):
    form = {"image": upload(data, "a.png"), **fields}
    return client.post("/v1/images", data=form, headers=headers)


def test_the_mood_of_a_stored_image(client, save):
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
def test_every_aggregator_answers(client, save, aggregator):
    image_id = save(HAPPY, ANGRY)
    answer = client.get(f"/v1/images/{image_id}/mood?aggregator={aggregator}")
    assert answer.status_code == 200
    assert answer.json["mood"] in ("happiness", "anger")


def test_the_default_is_the_one_that_measures_best(client, save):
    image_id = save(HAPPY)
    assert client.get(f"/v1/images/{image_id}/mood").json["aggregator"] == DEFAULT


def test_who_does_not_pass_a_filter_is_left_out(client, save):
    path = f"/v1/images/{save(HAPPY, ANGRY, face(x=60, size=30, score=None, fear=0.9))}/mood"
    mood = client.get(f"{path}?min_face_px=30&min_confidence=0.7").json
    assert [each["face_id"] for each in mood["faces"]] == [3]
    assert mood["left_out"] == [
        {"face_id": 1, "reason": "min_face_px"},
        {"face_id": 2, "reason": "min_confidence"},
    ]
    assert mood["mood"] == "fear"


def test_an_image_without_usable_faces_has_no_mood(client, save):
    image_id = save()
    nothing = {
        "mood": None, "distribution": {}, "agreement": None, "valence": {}, "aggregator": "vote",
        "shares": {}, "faces": [], "left_out": [],
    }  # fmt: skip
    assert client.get(f"/v1/images/{image_id}/mood?aggregator=vote").json == nothing
    left = client.get(f"/v1/images/{save(HAPPY)}/mood?aggregator=vote&min_face_px=11").json
    assert left == {**nothing, "left_out": [{"face_id": 1, "reason": "min_face_px"}]}


def test_a_model_of_five_classes(client):
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
def test_of_an_unknown_aggregator_the_known_ones_are_listed(client, save, path, field):
    answer = client.get(path.format(save(HAPPY)))
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"] == field
    assert all(name in answer.json["detail"] for name in AGGREGATORS)


def test_an_unknown_aggregator_keeps_nothing(client):
    answer = post(client, mood="average")
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "mood")
    assert "quality" in answer.json["detail"]
    assert client.get("/v1/images").json["images"] == []


@pytest.mark.parametrize(
    "query",
    [
        "min_face_px=-1", "min_face_px=nan", "min_face_px=inf", "min_face_px=many",
        "min_confidence=-0.1", "min_confidence=1.1", "min_confidence=nan", "min_faces=1",
    ],
)  # fmt: skip
def test_filters_that_make_no_sense_are_refused(client, save, query):
    answer = client.get(f"/v1/images/{save(HAPPY)}/mood?{query}")
    assert answer.status_code == 422
    assert answer.json["errors"][0]["field"] == query.partition("=")[0]


def test_an_image_that_is_not_there(client):
    assert client.get("/v1/images/7/mood").status_code == 404


def test_faces_across_images_have_no_mood(client):
    assert client.get("/v1/faces?mood=mean").status_code == 422


def test_a_posted_image_has_a_mood_only_if_asked(client):
    assert "mood" not in post(client).json
    image = post(client, mood="quality").json
    assert image["mood"] == client.get(f"/v1/images/{image['id']}/mood?aggregator=quality").json
    assert client.get(f"/v1/images/{image['id']}?mood=quality").json == image


def test_a_mood_needs_nothing_stored(client):
    answer = post(client, mood="vote", store="false")
    assert answer.status_code == 200
    assert answer.json["mood"]["mood"] == "happiness"
    assert client.get("/v1/images").json["images"] == []


def test_a_posted_image_without_faces_has_no_mood(client):
    assert post(client, EMPTY, mood="mean").json["mood"]["mood"] is None


def test_of_several_pictures_each_has_its_mood(client):
    files = [upload(TWO_FACES, "a.png"), upload(EMPTY, "b.png")]
    images = client.post("/v1/images", data={"image": files, "mood": "mean"}).json["images"]
    assert [image["mood"]["mood"] for image in images] == ["happiness", None]


def test_a_retry_is_answered_with_the_same_mood(client):
    key = {"Idempotency-Key": "one"}
    first, again = (post(client, headers=key, mood="logpool") for _ in range(2))
    assert again.json == first.json
    assert len(first.json["mood"]["faces"]) == 2
    # How it is looked at is no part of what was asked to be kept.
    other = post(client, headers=key, mood="vote").json
    assert (other["id"], other["mood"]["aggregator"]) == (first.json["id"], "vote")


def test_a_page_of_images_has_their_moods(client, save):
    save(HAPPY), save(), save(ANGRY, ANGRY, HAPPY)
    images = client.get("/v1/images?mood=vote").json["images"]
    assert {image["id"]: image["mood"]["mood"] for image in images} == {
        1: "happiness",
        2: None,
        3: "anger",
    }
    assert all("mood" not in image for image in client.get("/v1/images").json["images"])


def test_moods_cost_no_statement_of_their_own(app, client, save):
    for minute in range(50):
        save(HAPPY, ANGRY, minutes=minute)
    numbers = {}
    for path in ("?page_size=1", "?page_size=50", "?page_size=50&mood=quality", "/1", "/1/mood"):
        with counted(app) as asked:
            assert client.get(f"/v1/images{path}").status_code == 200
        read = ("FROM images", "FROM faces", "FROM emotions", "FROM faces JOIN")
        numbers[path] = len([each for each in asked if any(name in each for name in read)])
    # An image, its faces and their emotions; a page also finds its images first.
    assert (numbers.pop("/1"), numbers.pop("/1/mood")) == (3, 3)
    assert set(numbers.values()) == {4}


def test_the_mood_of_spans(client, save):
    save(HAPPY, HAPPY, HAPPY), save(ANGRY, minutes=10), save(minutes=20)
    save(ANGRY, HAPPY, minutes=60)
    save(minutes=120)
    noon, one, two = client.get("/v1/summary?by=hour&mood=mean").json["spans"]
    assert (noon["images"], noon["faces"]) == (3, 4)
    mood = noon["mood"]
    assert (mood["mood"], mood["images"]) == ("happiness", 2)
    # Each image counts alike: three happy faces are one, as is one angry face.
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


def test_the_mood_of_spans_takes_filters_on_images(client, save):
    save(HAPPY), save(ANGRY, minutes=60, model="net_5"), save(HAPPY, ANGRY, minutes=90)
    until = "until=2026-05-04T13:30:00Z"
    (day,) = client.get(f"/v1/summary?mood=mean&{until}&since=2026-05-04T12:30:00Z").json["spans"]
    assert (day["mood"]["mood"], day["mood"]["images"]) == ("anger", 1)
    models = client.get("/v1/summary?by=model&mood=vote").json["spans"]
    assert [(each["span"], each["mood"]["images"]) for each in models] == [
        ("net_5", 1),
        ("net_8", 2),
    ]


def test_images_that_a_face_matches_are_whole(client, save):
    save(HAPPY, ANGRY), save(HAPPY)
    (day,) = client.get("/v1/summary?mood=vote&emotion=anger").json["spans"]
    assert (day["images"], day["faces"]) == (1, 1)
    assert day["mood"]["images"] == 1
    assert day["mood"]["distribution"]["happiness"] == 0.5


@pytest.mark.parametrize("most", [{"MAX_MOOD_IMAGES": 2}, {"MAX_MOOD_FACES": 5}], ids=str)
def test_more_than_can_be_looked_at_is_refused_with_advice(client, save, monkeypatch, most):
    for minutes in (0, 60, 120):
        save(HAPPY, ANGRY, minutes=minutes)
    save(minutes=180)  # without faces there is nothing to look at
    for name, value in most.items():
        monkeypatch.setattr(summary, name, value)
    answer = client.get("/v1/summary?mood=mean")
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "since")
    assert "since and until" in answer.json["detail"]
    assert client.get("/v1/summary?by=day").status_code == 200
    later = client.get("/v1/summary?mood=mean&since=2026-05-04T12:30:00Z").json["spans"]
    assert later[0]["mood"]["images"] == 2


def test_images_are_read_a_few_at_a_time(app, client, save, monkeypatch):
    for minutes in range(5):
        save(HAPPY if minutes % 2 else ANGRY, ANGRY, minutes=minutes)
    whole = client.get("/v1/summary?mood=mean").json
    monkeypatch.setattr(summary, "BATCH_IMAGES", 2)
    with counted(app) as asked:
        assert client.get("/v1/summary?mood=mean").json == whole
    assert len([each for each in asked if "emotions.probability" in each and " IN (" in each]) == 3
    assert whole["spans"][0]["mood"]["images"] == 5


def test_who_may_only_post_may_not_ask_for_moods(app, client, save):
    image_id = save(HAPPY)
    with app.app_context():
        token = issue("camera", {Right.ANALYSE})
    headers = {"Authorization": f"Bearer {token}"}
    assert client.get(f"/v1/images/{image_id}/mood", headers=headers).status_code == 403


def test_the_document_lists_the_aggregators(client):
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
