"""Sums by the hour against what they stand for: a count of the images one by one."""

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
from app.store.rollups import add_saved
from app.store.tables import ImageRow, db
from app.store.transactions import write_transaction
from app.vision.circumplex import affect_of, mean_affect
from app.vision.types import Scores
from tests.store.test_queries import ANGRY, CALM, HAPPY, MODEL, NOON, analysis

OTHER = replace(MODEL, name="net_5")
MINUTES = 5 * 60  # over which the images of a test are spread


@pytest.fixture(autouse=True)
def database(database_app):
    return database_app


def save_some(count, seed=0):
    chance = random.Random(seed)
    for _ in range(count):
        faces = chance.choices([HAPPY, ANGRY, CALM], k=chance.randrange(3))
        minutes, model = chance.uniform(0, MINUTES), chance.choice([MODEL, OTHER])
        queries.save(analysis(*faces, minutes=minutes, model=model))


def one_by_one(filters, by):
    """What the same filter gives where the sums are of no use."""
    return summary.summarise(replace(filters, min_faces=0), by=by)


def assert_same(filters=None):
    for by in ("hour", "day", "model"):
        got, expected = (
            summary.summarise(filters or Filters(), by=by),
            one_by_one(filters or Filters(), by),
        )
        for one, other in zip(got, expected, strict=True):
            assert (one.span, one.images, one.faces) == (other.span, other.images, other.faces)
            assert one.dominant == other.dominant
            assert one.mean_probability == pytest.approx(other.mean_probability)
            assert one.sums.keys() == other.sums.keys()
            for model, sums in one.sums.items():
                assert sums == pytest.approx(other.sums[model])


@pytest.mark.parametrize("added", [0, 15, 30])
@pytest.mark.parametrize(
    "asked",
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
def test_a_summary_is_that_of_its_images(added, asked):
    save_some(added)
    add_saved()
    save_some(30 - added, seed=1)
    times = {name: NOON + timedelta(minutes=minutes) for name, minutes in asked.items()}
    assert_same(Filters(**times))
    assert_same(Filters(**times, model=MODEL.name))


@pytest.mark.parametrize("added", [0, 2, 4])
def test_mean_affect_leaves_out_independent_scores(added):
    """They may have the labels of FER+ and happen to sum to 1."""
    independent = replace(ANGRY, emotions=Scores(dict(ANGRY.emotions), exclusive=False))
    for position, (face, model) in enumerate(
        [(HAPPY, MODEL), (independent, OTHER), (independent, MODEL), (CALM, MODEL)]
    ):
        queries.save(analysis(face, minutes=position, model=model))
        if position + 1 == added:
            assert add_saved() == added
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


def test_the_sums_are_used():
    save_some(10)
    assert add_saved() == 10
    with write_transaction():
        rollups.db.session.execute(rollups.update(HourRow).values(images=1000))
    assert summary.summarise(Filters(), by="day")[0].images >= 1000


@pytest.mark.parametrize("added", [False, True])
def test_more_spans_than_can_be_shown_are_refused(monkeypatch, added):
    monkeypatch.setattr(summary, "MOST_SPANS", 2)
    for hour in range(3):
        queries.save(analysis(HAPPY, minutes=60 * hour))
    if added:
        add_saved()
    with pytest.raises(TooWideSpan, match="more than 2 spans"):
        summary.summarise(Filters(), by="hour")
    assert len(summary.summarise(Filters(until=NOON + timedelta(hours=2)), by="hour")) == 2
    assert len(summary.summarise(Filters(), by="day")) == 1


def test_few_faces_are_summed_among_however_many_images(monkeypatch):
    monkeypatch.setattr(summary, "MOST_IMAGES", 2)
    for face in (HAPPY, CALM, CALM, CALM):
        queries.save(analysis(face))
    (day,) = summary.summarise(Filters(emotion="happiness"), by="day")
    assert (day.images, day.faces, day.dominant) == (1, 1, {"happiness": 1})
    with pytest.raises(TooWideSpan):
        summary.summarise(Filters(emotion="neutral"), by="day")


def test_the_last_hour_of_all():
    last = datetime.max.replace(tzinfo=UTC)
    queries.save(analysis(HAPPY, created_at=last - timedelta(minutes=1)))
    queries.save(analysis(HAPPY, created_at=last - timedelta(minutes=50)))
    for _ in range(2):
        (hour,) = summary.summarise(Filters(since=last - timedelta(minutes=30)), by="hour")
        assert hour.images == 1
        add_saved()


def test_what_is_saved_is_added_once():
    save_some(3)
    assert [add_saved(), add_saved()] == [3, 0]
    save_some(2)
    assert [add_saved(), add_saved()] == [2, 0]
    assert_same()


@pytest.mark.postgres  # SQLite has one writer at a time
@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_an_image_in_flight_is_waited_for():
    """Its id is below that of images that are committed."""
    queries.save(analysis())
    with db.engine.connect() as other:
        columns = [column for column in ImageRow.__table__.c if column.name != "id"]
        other.execute(
            insert(ImageRow).from_select(
                [column.name for column in columns], select(*columns).limit(1)
            )
        )
        save_some(1, seed=1)
        with pytest.raises(StoreUnavailable):
            add_saved()
        assert queries.save(analysis(HAPPY)).id == 4  # nobody waits for those who add
        other.commit()
    assert add_saved() == 4
    assert_same()


def test_a_failure_to_add_keeps_what_is_saved(monkeypatch, caplog):
    monkeypatch.setattr(queries, "MAINTENANCE_EVERY", 1)

    def fail():
        raise RuntimeError("no sums today")

    monkeypatch.setattr(queries, "add_saved", fail)
    saved = queries.save(analysis(HAPPY))
    assert queries.get(saved.id) == saved
    assert "is tried again later: RuntimeError" in caplog.text
    assert "no sums today" not in caplog.text  # an error's own text may quote values


def test_many_are_added_in_batches(monkeypatch):
    monkeypatch.setattr(rollups, "BATCH_IMAGES", 4)
    save_some(10)
    assert [add_saved() for _ in range(4)] == [4, 4, 2, 0]
    assert_same()


def test_erasing_takes_from_the_sums_what_was_in_them():
    save_some(15)
    add_saved()
    save_some(5, seed=1)
    for image_id in (1, 5, 20):
        queries.erase(image_id)
        assert_same()
    queries.erase_matching(Filters(emotion="anger"))
    assert_same()
    queries.erase_matching(Filters(min_faces=0))
    assert summary.summarise(Filters(), by="hour") == []
    assert rollups.db.session.query(HourRow).count() == 0
    assert rollups.db.session.query(HourEmotionRow).count() == 0


def test_an_unknown_id_takes_nothing():
    save_some(5)
    add_saved()
    with pytest.raises(queries.NotFound):
        queries.erase(99)
    assert_same()


def test_saving_adds_from_time_to_time(monkeypatch):
    monkeypatch.setattr(queries, "MAINTENANCE_EVERY", 4)
    save_some(9)
    assert rollups.watermark() == 8
    assert_same()


def test_images_from_before_the_sums_are_in_them():
    save_some(12)
    downgrade(revision="0003")
    upgrade()
    assert rollups.watermark() == 12
    assert_same()


def test_the_faces_of_each_image_come_whole_with_its_span(monkeypatch):
    monkeypatch.setattr(summary, "IMAGES_AT_ONCE", 2)
    saved = [(HAPPY, ANGRY), (), (CALM,), (ANGRY,), (CALM, HAPPY, ANGRY)]
    for hour, faces in enumerate(saved):
        queries.save(analysis(*faces, minutes=60 * hour, model=MODEL if hour else OTHER))
    hours = {f"2026-05-04T{12 + hour}:00:00Z": faces for hour, faces in enumerate(saved) if faces}
    read = {span: tuple(its) for span, its in summary.faces_by_span(Filters(), by="hour")}
    assert read == hours
    assert [list(face.emotions) for face in read["2026-05-04T12:00:00Z"]] == [
        list(face.emotions) for face in saved[0]
    ]
    days = [span for span, _ in summary.faces_by_span(Filters(), by="day")]
    assert days == ["2026-05-04"] * 4
    models = summary.faces_by_span(Filters(emotion="anger"), by="model")
    assert sorted((span, len(its)) for span, its in models) == [
        (OTHER.name, 2),
        (MODEL.name, 1),
        (MODEL.name, 3),
    ]
    until = Filters(until=NOON + timedelta(hours=3))
    assert [len(its) for _, its in summary.faces_by_span(until, by="day")] == [2, 1]


@pytest.mark.parametrize("most", [{"MOST_IMAGES_READ": 2}, {"MOST_FACES_READ": 3}], ids=str)
def test_more_faces_than_can_be_read_are_refused(monkeypatch, most):
    for hour in range(3):
        queries.save(analysis(HAPPY, ANGRY, minutes=60 * hour))
    for name, value in most.items():
        monkeypatch.setattr(summary, name, value)
    with pytest.raises(TooWideSpan, match="since and until"):
        list(summary.faces_by_span(Filters(), by="day"))
    later = Filters(since=NOON + timedelta(hours=2))
    assert len(list(summary.faces_by_span(later, by="day"))) == 1
