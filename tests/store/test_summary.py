"""Sums by the hour against what they stand for: a count of the images one by one."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from flask_migrate import downgrade, upgrade

from app.errors import TooWideSpan
from app.store import queries, summary, tallies
from app.store.records import Filters
from app.store.transactions import transaction
from tests.store.test_queries import ANGRY, CALM, HAPPY, MODEL, NOON, analysis

OTHER = replace(MODEL, name="net_5")
MINUTES = 5 * 60  # over which the images of a test are spread


@pytest.fixture(autouse=True)
def database(empty_database_app):
    upgrade()
    return empty_database_app


def save_some(count, seed=0):
    chance = random.Random(seed)
    for _ in range(count):
        faces = chance.choices([HAPPY, ANGRY, CALM], k=chance.randrange(3))
        minutes, model = chance.uniform(0, MINUTES), chance.choice([MODEL, OTHER])
        queries.save(analysis(*faces, minutes=minutes, model=model))


def settle(minutes=MINUTES + 10):
    with transaction():
        return tallies.add_settled(NOON + timedelta(minutes=minutes))


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


@pytest.mark.parametrize("settled", [0, 100, MINUTES + 10])
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
def test_a_summary_is_that_of_its_images(settled, asked):
    save_some(30)
    settle(settled)
    times = {name: NOON + timedelta(minutes=minutes) for name, minutes in asked.items()}
    assert_same(Filters(**times))
    assert_same(Filters(**times, model=MODEL.name))


def test_the_sums_are_used():
    save_some(10)
    assert settle() == 10
    with transaction():
        tallies.db.session.execute(tallies.update(tallies.HourRow).values(images=1000))
    assert summary.summarise(Filters(), by="day")[0].images >= 1000


@pytest.mark.parametrize("settled", [0, MINUTES + 10])
def test_more_spans_than_can_be_shown_are_refused(monkeypatch, settled):
    monkeypatch.setattr(summary, "MOST_SPANS", 2)
    for hour in range(3):
        queries.save(analysis(HAPPY, minutes=60 * hour))
    settle(settled)
    with pytest.raises(TooWideSpan, match="more than 2 spans"):
        summary.summarise(Filters(), by="hour")
    assert len(summary.summarise(Filters(until=NOON + timedelta(hours=2)), by="hour")) == 2
    assert len(summary.summarise(Filters(), by="day")) == 1


def test_only_what_is_settled_is_added_and_once():
    queries.save(analysis(HAPPY, minutes=0))
    queries.save(analysis(HAPPY, minutes=10))
    queries.save(analysis(HAPPY, minutes=0))  # comes later, and after one that is young
    assert settle(minutes=11) == 1
    assert settle(minutes=11) == 0
    assert settle(minutes=20) == 2
    assert_same()


def test_many_are_added_in_batches(monkeypatch):
    monkeypatch.setattr(tallies, "MOST_AT_ONCE", 4)
    save_some(10)
    assert [settle() for _ in range(4)] == [4, 4, 2, 0]
    assert_same()


def test_erasing_takes_from_the_sums_what_was_in_them():
    save_some(20)
    settle(minutes=150)
    for image_id in (1, 5, 20):
        queries.erase(image_id)
        assert_same()
    queries.erase_matching(Filters(emotion="anger"))
    assert_same()
    queries.erase_matching(Filters(min_faces=0))
    assert summary.summarise(Filters(), by="hour") == []
    assert tallies.db.session.query(tallies.HourRow).count() == 0
    assert tallies.db.session.query(tallies.HourEmotionRow).count() == 0


def test_an_unknown_id_takes_nothing():
    save_some(5)
    settle()
    with pytest.raises(queries.NotFound):
        queries.erase(99)
    assert_same()


def test_saving_adds_what_is_settled_from_time_to_time(monkeypatch):
    monkeypatch.setattr(queries, "SUMS_EVERY", 4)
    save_some(9)  # made long before today
    assert tallies.mark() == 8
    assert_same()


def test_images_from_before_the_sums_are_in_them():
    save_some(12)
    downgrade(revision="0003")
    upgrade()
    assert tallies.mark() == 12
    assert_same()
