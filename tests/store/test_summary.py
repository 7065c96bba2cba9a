"""Summaries from rollups, compared with direct aggregation."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import fmean

import pytest
from sqlalchemy import insert, select

from app.errors import StoreUnavailable, TooWideSpan
from app.store import queries, rollups, summary
from app.store.migrate import downgrade, upgrade
from app.store.records import Filters
from app.store.rollup_tables import HourEmotionRow, HourRow
from app.store.rollups import add_new_images
from app.store.tables import ImageRow, db
from app.store.transactions import write_transaction
from app.vision.circumplex import affect_of, mean_affect
from app.vision.types import Scores
from tests.store.test_queries import ANGRY, CALM, HAPPY, MODEL, NOON, analysis

OTHER = replace(MODEL, name="net_5")
MINUTES = 5 * 60  # the images of a test are spread over this time


@pytest.fixture(autouse=True)
def database(database_app):
    return database_app


def save_random_images(count, seed=0):
    rng = random.Random(seed)
    for _ in range(count):
        faces = rng.choices([HAPPY, ANGRY, CALM], k=rng.randrange(3))
        minutes, model = rng.uniform(0, MINUTES), rng.choice([MODEL, OTHER])
        queries.save(analysis(*faces, minutes=minutes, model=model))


def aggregate_directly(filters, by):
    """Summarise with an equivalent filter that the rollups do not support."""
    return summary.summarise(replace(filters, min_faces=0), by=by)


def assert_same(filters=None):
    for by in ("hour", "day", "model"):
        actual, expected = (
            summary.summarise(filters or Filters(), by=by),
            aggregate_directly(filters or Filters(), by),
        )
        for one, other in zip(actual, expected, strict=True):
            assert (one.span, one.images, one.faces) == (other.span, other.images, other.faces)
            assert one.dominant == other.dominant
            assert one.mean_probability == pytest.approx(other.mean_probability)
            assert one.sums.keys() == other.sums.keys()
            for model, sums in one.sums.items():
                assert sums == pytest.approx(other.sums[model])


@pytest.mark.parametrize("added", [0, 15, 30])
@pytest.mark.parametrize(
    "times",
    [
        {},
        {"since": 60},
        {"since": 61.5, "until": 200},
        {"since": 70, "until": 80},
        {"until": 119.9},
        {"since": 110, "until": 130},
        {"since": 60, "until": 120},
    ],
    ids=str,
)
def test_rollups_equal_direct_aggregation(added, times):
    save_random_images(added)
    add_new_images()
    save_random_images(30 - added, seed=1)
    limits = {name: NOON + timedelta(minutes=minutes) for name, minutes in times.items()}
    assert_same(Filters(**limits))
    assert_same(Filters(**limits, model=MODEL.name))


@pytest.mark.parametrize("added", [0, 2, 4])
def test_mean_affect_leaves_out_independent_scores(added):
    """Independent scores may have the labels of FER+ and sum to 1 by rng."""
    independent = replace(ANGRY, emotions=Scores(dict(ANGRY.emotions), exclusive=False))
    for position, (face, model) in enumerate(
        [(HAPPY, MODEL), (independent, OTHER), (independent, MODEL), (CALM, MODEL)]
    ):
        queries.save(analysis(face, minutes=position, model=model))
        if position + 1 == added:
            assert add_new_images() == added
    assert_same()
    (day,) = summary.summarise(Filters(), by="day")
    assert day.mean_probability["anger"] == pytest.approx(0.7)
    affects = [affect_of(face.emotions) for face in (HAPPY, CALM)]
    expected = [fmean(values) for values in zip(*affects, strict=True)]
    assert mean_affect(day.sums.values()) == pytest.approx(expected)
    by_model = {span.span: span for span in summary.summarise(Filters(), by="model")}
    assert mean_affect(by_model[OTHER.name].sums.values()) is None
    queries.erase(3)
    assert_same()


def test_summary_uses_the_rollups():
    save_random_images(10)
    assert add_new_images() == 10
    with write_transaction():
        rollups.db.session.execute(rollups.update(HourRow).values(images=1000))
    assert summary.summarise(Filters(), by="day")[0].images >= 1000


@pytest.mark.parametrize("added", [False, True])
def test_summary_with_too_many_spans_is_rejected(monkeypatch, added):
    monkeypatch.setattr(summary, "MAX_SPANS", 2)
    for hour in range(3):
        queries.save(analysis(HAPPY, minutes=60 * hour))
    if added:
        add_new_images()
    with pytest.raises(TooWideSpan, match="more than 2 spans"):
        summary.summarise(Filters(), by="hour")
    assert len(summary.summarise(Filters(until=NOON + timedelta(hours=2)), by="hour")) == 2
    assert len(summary.summarise(Filters(), by="day")) == 1


def test_filter_with_few_faces_is_summarised_despite_many_images(monkeypatch):
    monkeypatch.setattr(summary, "MAX_IMAGES", 2)
    for face in (HAPPY, CALM, CALM, CALM):
        queries.save(analysis(face))
    (day,) = summary.summarise(Filters(emotion="happiness"), by="day")
    assert (day.images, day.faces, day.dominant) == (1, 1, {"happiness": 1})
    with pytest.raises(TooWideSpan):
        summary.summarise(Filters(emotion="neutral"), by="day")


def test_last_hour_of_the_calendar_is_summarised():
    last = datetime.max.replace(tzinfo=UTC)
    queries.save(analysis(HAPPY, created_at=last - timedelta(minutes=1)))
    queries.save(analysis(HAPPY, created_at=last - timedelta(minutes=50)))
    for _ in range(2):
        (hour,) = summary.summarise(Filters(since=last - timedelta(minutes=30)), by="hour")
        assert hour.images == 1
        add_new_images()


def test_add_saved_adds_each_image_once():
    save_random_images(3)
    assert [add_new_images(), add_new_images()] == [3, 0]
    save_random_images(2)
    assert [add_new_images(), add_new_images()] == [2, 0]
    assert_same()


@pytest.mark.postgres  # SQLite has one writer at a time
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_add_saved_waits_for_open_inserts():
    """The open insert has a lower id than committed images."""
    queries.save(analysis())
    with db.engine.connect() as other:
        columns = [column for column in ImageRow.__table__.c if column.name != "id"]
        other.execute(
            insert(ImageRow).from_select(
                [column.name for column in columns], select(*columns).limit(1)
            )
        )
        save_random_images(1, seed=1)
        with pytest.raises(StoreUnavailable):
            add_new_images()
        assert queries.save(analysis(HAPPY)).id == 4  # add_new_images does not block inserts
        other.commit()
    assert add_new_images() == 4
    assert_same()


def test_failure_of_add_saved_does_not_affect_the_saved_image(monkeypatch, caplog):
    monkeypatch.setattr(queries, "MAINTENANCE_EVERY", 1)

    def fail():
        raise RuntimeError("secret value")

    monkeypatch.setattr(queries, "add_new_images", fail)
    saved = queries.save(analysis(HAPPY))
    assert queries.get(saved.id) == saved
    assert "is tried again later: RuntimeError" in caplog.text
    assert "secret value" not in caplog.text  # the text of an error may contain values


def test_add_saved_adds_images_in_batches(monkeypatch):
    monkeypatch.setattr(rollups, "BATCH_IMAGES", 4)
    save_random_images(10)
    assert [add_new_images() for _ in range(4)] == [4, 4, 2, 0]
    assert_same()


def test_erase_subtracts_the_image_from_the_rollups():
    save_random_images(15)
    add_new_images()
    save_random_images(5, seed=1)
    for image_id in (1, 5, 20):
        queries.erase(image_id)
        assert_same()
    queries.erase_matching(Filters(emotion="anger"))
    assert_same()
    queries.erase_matching(Filters(min_faces=0))
    assert summary.summarise(Filters(), by="hour") == []
    assert rollups.db.session.query(HourRow).count() == 0
    assert rollups.db.session.query(HourEmotionRow).count() == 0


def test_erase_of_an_unknown_id_does_not_change_the_rollups():
    save_random_images(5)
    add_new_images()
    with pytest.raises(queries.NotFound):
        queries.erase(99)
    assert_same()


def test_save_regularly_updates_the_rollups(monkeypatch):
    monkeypatch.setattr(queries, "MAINTENANCE_EVERY", 4)
    save_random_images(9)
    assert rollups.watermark() == 8
    assert_same()


def test_upgrade_adds_existing_images_to_the_rollups():
    save_random_images(12)
    downgrade(revision="0003")
    upgrade()
    assert rollups.watermark() == 12
    assert_same()


def test_faces_by_span_yields_all_faces_of_each_image(monkeypatch):
    monkeypatch.setattr(summary, "BATCH_IMAGES", 2)
    saved = [(HAPPY, ANGRY), (), (CALM,), (ANGRY,), (CALM, HAPPY, ANGRY)]
    for hour, faces in enumerate(saved):
        queries.save(analysis(*faces, minutes=60 * hour, model=MODEL if hour else OTHER))
    hours = {f"2026-05-04T{12 + hour}:00:00Z": faces for hour, faces in enumerate(saved) if faces}
    read = {span: tuple(faces) for span, faces in summary.faces_by_span(Filters(), by="hour")}
    assert read == hours
    assert [list(face.emotions) for face in read["2026-05-04T12:00:00Z"]] == [
        list(face.emotions) for face in saved[0]
    ]
    days = [span for span, _ in summary.faces_by_span(Filters(), by="day")]
    assert days == ["2026-05-04"] * 4
    models = summary.faces_by_span(Filters(emotion="anger"), by="model")
    assert sorted((span, len(faces)) for span, faces in models) == [
        (OTHER.name, 2),
        (MODEL.name, 1),
        (MODEL.name, 3),
    ]
    until = Filters(until=NOON + timedelta(hours=3))
    assert [len(faces) for _, faces in summary.faces_by_span(until, by="day")] == [2, 1]


@pytest.mark.parametrize("limits", [{"MAX_MOOD_IMAGES": 2}, {"MAX_MOOD_FACES": 3}], ids=str)
def test_faces_by_span_rejects_too_many_images_or_faces(monkeypatch, limits):
    for hour in range(3):
        queries.save(analysis(HAPPY, ANGRY, minutes=60 * hour))
    for name, value in limits.items():
        monkeypatch.setattr(summary, name, value)
    with pytest.raises(TooWideSpan, match="since and until"):
        list(summary.faces_by_span(Filters(), by="day"))
    later = Filters(since=NOON + timedelta(hours=2))
    assert len(list(summary.faces_by_span(later, by="day"))) == 1
