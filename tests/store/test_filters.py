"""Every filter narrows pages, summaries and erasures.

A filter that the conditions forget would make an erasure match every image.
"""

from dataclasses import fields, replace
from datetime import timedelta

import pytest

from app.store import planning, queries, summary
from app.store.records import Filters, PersonFilters
from tests.store.test_persons import person, scene
from tests.store.test_queries import ANGRY, HAPPY, MODEL, NOON

# For each field of the filters: arguments that match only image a, or only image b.
FILTERS = {
    "emotion": ({"emotion": "happiness"}, "a"),
    "min_probability": ({"min_probability": 0.8}, "a"),
    "file_name": ({"file_name": "b"}, "b"),
    "model": ({"model": "net_5"}, "b"),
    "since": ({"since": NOON + timedelta(minutes=1)}, "b"),
    "until": ({"until": NOON + timedelta(minutes=1)}, "a"),
    "min_faces": ({"min_faces": 2}, "b"),
    "persons": ({"persons": PersonFilters(category="Peace")}, "a"),
}
PERSON_FILTERS = {
    "category": ({"category": "Peace"}, "a"),
    "min_score": ({"category": "Doubt/Confusion", "min_score": 0.18}, "a"),
    "min_valence": ({"min_valence": 5}, "a"),
    "max_valence": ({"max_valence": 5}, "b"),
    "min_arousal": ({"min_arousal": 5}, "b"),
    "max_arousal": ({"max_arousal": 5}, "a"),
    "min_dominance": ({"min_dominance": 5}, "b"),
    "max_dominance": ({"max_dominance": 5}, "a"),
}
CASES = [
    *((Filters(**values), name) for values, name in FILTERS.values()),
    *((Filters(persons=PersonFilters(**values)), name) for values, name in PERSON_FILTERS.values()),
]
EVERYTHING = Filters(min_faces=0)


@pytest.fixture(params=[0, planning.FEW], ids=["without index", "with index"], autouse=True)
def few(request, monkeypatch):
    monkeypatch.setattr(planning, "FEW", request.param)


@pytest.fixture(autouse=True)
def database(database_app):
    return database_app


def save_images():
    calm = person(peace=0.8, doubt=0.2, valence=7.5, arousal=2, dominance=2)
    cross = person(80, anger=0.6, doubt=0.15, valence=2, arousal=8, dominance=9)
    queries.save(scene(calm, faces=[HAPPY], file_name="a"))
    other = scene(cross, faces=[ANGRY, ANGRY], minutes=2, file_name="b")
    queries.save(replace(other, model=replace(MODEL, name="net_5")))


def stored(filters):
    images = queries.page_of_images(filters, size=9, cursor=None).items
    return [image.file_name for image in images]


def test_every_field_has_a_case():
    assert FILTERS.keys() == {field.name for field in fields(Filters)}
    assert PERSON_FILTERS.keys() == {field.name for field in fields(PersonFilters)}


def test_every_filter_narrows_pages_and_summaries():
    save_images()
    for filters, name in CASES:
        assert stored(filters) == [name], filters
        faces = queries.page_of_faces(filters, size=9, cursor=None).items
        assert {found.image.file_name for found in faces} == {name}, filters
        spans = summary.summarise(filters, by="model")
        assert sum(span.images for span in spans) == 1, filters


def test_every_filter_narrows_erasures():
    for filters, name in CASES:
        save_images()
        assert queries.erase_matching(filters) == 1, filters
        assert stored(Filters()) == ["b" if name == "a" else "a"], filters
        assert queries.erase_matching(EVERYTHING) == 1
