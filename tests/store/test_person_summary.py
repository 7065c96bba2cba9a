"""Summaries of persons, from rollups and by direct aggregation."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.errors import TooWideSpan
from app.store import person_summary, planning, queries, summary
from app.store.migrate import upgrade
from app.store.person_summary import persons_by_span
from app.store.records import Filters, PersonFilters
from app.store.rollup_tables import HourCategoryRow, HourRow
from app.store.rollups import add_new_images
from tests.store.test_persons import CALM, CROSS, UNSURE, rows, scene
from tests.store.test_queries import HAPPY, MODEL, NOON

OTHER = replace(MODEL, name="net_5")


@pytest.fixture(autouse=True)
def database(empty_database_app):
    upgrade()
    return empty_database_app


def save_scenes():
    scenes = [(CALM,), (CALM, CROSS), (), (UNSURE, CALM), (CROSS,)]
    for number, persons in enumerate(scenes):
        model = OTHER if number == 3 else MODEL
        queries.save(scene(*persons, faces=(HAPPY,), minutes=25 * number, model=model))


def test_persons_are_summarised_by_span():
    save_scenes()
    first, second = persons_by_span(Filters(), by="hour").items()
    assert first[0] == "2026-05-04T12:00:00Z"
    assert (first[1].persons, first[1].shown) == (
        3,
        {"Anger": 1, "Doubt/Confusion": 1, "Peace": 2},
    )
    assert first[1].mean_score == pytest.approx(
        {"Anger": 0.2, "Doubt/Confusion": 0.2 / 3, "Pain": 0.9, "Peace": 1.6 / 3}
    )
    mean = first[1].mean_dimensions
    assert (mean.valence, mean.arousal) == pytest.approx((17 / 3, 4))
    assert mean.dominance == pytest.approx(19 / 3)
    assert (second[0], second[1].persons) == ("2026-05-04T13:00:00Z", 3)
    by_model = persons_by_span(Filters(), by="model")
    assert {name: span.persons for name, span in by_model.items()} == {"net_5": 2, "net_8": 4}


@pytest.mark.parametrize("times", [{}, {"since": 20}, {"since": 10, "until": 70}, {"until": 60}])
def test_rollups_of_persons_equal_direct_aggregation(times):
    save_scenes()
    add_new_images()
    queries.save(scene(CROSS, UNSURE, faces=(HAPPY,), minutes=55))
    limits = {name: NOON + timedelta(minutes=minutes) for name, minutes in times.items()}
    check_rollups(Filters(**limits))
    check_rollups(Filters(**limits, model=OTHER.name))


def check_rollups(filters):
    for by in ("hour", "day", "model"):
        actual = persons_by_span(filters, by=by)
        expected = persons_by_span(replace(filters, min_faces=0), by=by)
        assert actual.keys() == expected.keys()
        for name, span in actual.items():
            other = expected[name]
            assert (span.persons, span.shown) == (other.persons, other.shown)
            assert span.mean_score == pytest.approx(other.mean_score)
            for dimension in person_summary.DIMENSIONS:
                assert getattr(span.mean_dimensions, dimension) == pytest.approx(
                    getattr(other.mean_dimensions, dimension)
                )


def test_erase_subtracts_persons_from_the_rollups():
    save_scenes()
    add_new_images()
    assert rows(HourCategoryRow) > 0
    queries.erase(2)
    check_rollups(Filters())
    queries.erase_matching(Filters(persons=PersonFilters(category="Peace")))
    check_rollups(Filters())
    assert persons_by_span(Filters(), by="model")["net_8"].persons == 1
    queries.erase_matching(Filters(min_faces=0))
    assert persons_by_span(Filters(), by="day") == {}
    assert (rows(HourRow), rows(HourCategoryRow)) == (0, 0)


@pytest.mark.parametrize("few", [0, 1, planning.FEW])
def test_summary_with_a_filter_on_persons_counts_matching_persons(monkeypatch, few):
    monkeypatch.setattr(planning, "FEW", few)
    save_scenes()
    filters = Filters(persons=PersonFilters(category="Anger"))
    (day,) = persons_by_span(filters, by="day").values()
    assert (day.persons, day.shown) == (2, {"Anger": 2, "Doubt/Confusion": 2})
    (counted,) = summary.summarise(filters, by="day")
    assert (counted.images, counted.faces) == (2, 2)


@pytest.mark.parametrize("added", [False, True])
def test_summary_of_persons_with_too_many_spans_is_rejected(monkeypatch, added):
    for module in (summary, person_summary):
        monkeypatch.setattr(module, "MAX_SPANS", 2)
    for hour in range(3):
        queries.save(scene(CALM, minutes=60 * hour))
    if added:
        add_new_images()
    with pytest.raises(TooWideSpan, match="more than 2 spans"):
        persons_by_span(Filters(), by="hour")
    assert len(persons_by_span(Filters(until=NOON + timedelta(hours=2)), by="hour")) == 2


def test_summary_of_persons_in_too_many_images_is_rejected(monkeypatch):
    monkeypatch.setattr(summary, "MAX_IMAGES", 2)
    for _ in range(3):
        queries.save(scene(CALM))
    with pytest.raises(TooWideSpan, match="since and until"):
        persons_by_span(Filters(min_faces=0), by="day")
