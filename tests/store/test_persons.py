"""Persons in the store."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, func, select

from app.errors import NotFound
from app.store import persons, planning, queries
from app.store.migrate import upgrade
from app.store.records import Filters, PersonFilters
from app.store.tables import CategoryRow, PersonModelRow, PersonRow, db
from app.vision.types import Box, Dimensions, Person, PersonModel, Scores
from tests.store.test_queries import ANGRY, HAPPY, MODEL, NOON, analysis

PERSON_MODEL = PersonModel(
    replace(MODEL, name="context"), {"Peace": 0.3, "Doubt/Confusion": 0.1, "Anger": 0.5}
)


def person(x=0.0, *, peace=0.0, doubt=0.0, anger=0.0, valence=5.0, arousal=5.0, dominance=5.0):
    categories = {"Peace": peace, "Doubt/Confusion": doubt, "Anger": anger, "Pain": 0.9}
    return Person(
        Box(x, 10.5, x + 60, 190),
        Scores(categories, exclusive=False),
        Dimensions(valence, arousal, dominance),
        detection_score=0.75,
    )


CALM = person(peace=0.8, valence=7.5, arousal=2)
CROSS = replace(person(80, anger=0.6, doubt=0.2, valence=2, arousal=8, dominance=9), face=0)
UNSURE = person(160, peace=0.2, doubt=0.15, anger=0.4)


def scene(*people, faces=(), **changes):
    return analysis(*faces, persons=people, person_model=PERSON_MODEL, **changes)


@pytest.fixture(autouse=True)
def database(empty_database_app):
    upgrade()
    return empty_database_app


@pytest.fixture(params=[0, 1, planning.FEW], ids=["without index", "mixed", "with index"])
def few(request, monkeypatch):
    """Filters use no index, an index if at most one row matches, or an index.

    The result must be the same.
    """
    monkeypatch.setattr(planning, "FEW", request.param)


def rows(table):
    return db.session.scalar(select(func.count()).select_from(table))


def test_persons_are_returned_as_they_were_saved():
    unsaved = scene(
        replace(CALM, track_id=7, detection_score=None),
        replace(CROSS, face=1),
        faces=(replace(HAPPY, track_id=3), ANGRY),
        category_threshold=0.25,
    )
    saved = queries.save(unsaved)
    assert saved == replace(unsaved, id=saved.id)
    assert queries.get(saved.id) == saved
    stored = queries.get(saved.id)
    assert [each.face for each in stored.persons] == [None, 1]
    assert list(stored.persons[0].categories) == ["Peace", "Doubt/Confusion", "Anger", "Pain"]
    assert list(stored.person_model.thresholds) == list(PERSON_MODEL.thresholds)
    (listed,) = queries.page_of_images(Filters(), size=5, cursor=None).items
    assert listed == stored


def test_exclusive_flag_of_scores_is_stored():
    independent = replace(HAPPY, emotions=Scores({"joy": 0.9, "awe": 0.8}, exclusive=False))
    exclusive = replace(CALM, categories=Scores({"a": 0.4, "b": 0.6}))
    saved = queries.save(scene(exclusive, CALM, faces=(independent, HAPPY)))
    stored = queries.get(saved.id)
    assert [face.emotions.exclusive for face in stored.faces] == [False, True]
    assert [each.categories.exclusive for each in stored.persons] == [True, False]


def test_person_model_of_an_image_without_persons_is_stored():
    saved = queries.save(scene())
    assert queries.get(saved.id).person_model == PERSON_MODEL
    assert queries.get(queries.save(analysis()).id).person_model is None


def test_person_model_is_stored_once_for_each_set_of_thresholds():
    changed = replace(PERSON_MODEL, thresholds={"Peace": 0.4})
    saved = [
        queries.save(replace(scene(CALM), person_model=model))
        for model in (PERSON_MODEL, changed, PERSON_MODEL)
    ]
    assert rows(PersonModelRow) == 2
    assert [queries.get(each.id) for each in saved] == saved


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, "abc"),
        ({"category": "Peace"}, "a"),
        ({"category": "Doubt/Confusion"}, "bc"),
        ({"category": "Pain"}, ""),  # the model has no threshold for it
        ({"category": "Pain", "min_score": 0.9}, "abc"),
        ({"category": "Peace", "min_score": 0.2}, "ac"),
        ({"category": "Peace", "min_score": 0.81}, ""),
        ({"category": "Anger", "min_score": 0.0}, "abc"),
        ({"category": "Unknown"}, ""),
        ({"min_valence": 5}, "ac"),
        ({"max_valence": 2}, "b"),
        ({"min_valence": 3, "max_valence": 6}, "c"),
        ({"min_arousal": 8}, "b"),
        ({"max_arousal": 4.9}, "a"),
        ({"min_dominance": 9}, "b"),
        ({"max_dominance": 8.9}, "ac"),
        ({"category": "Doubt/Confusion", "min_arousal": 6}, "b"),
        ({"category": "Peace", "min_arousal": 6}, ""),
        ({"min_arousal": 8, "max_dominance": 8.9}, ""),
    ],
    ids=str,
)
def test_filters_select_persons_and_their_images(few, filters, expected):
    persons_by_name = {"a": CALM, "b": replace(CROSS, face=None), "c": UNSURE}
    names = {queries.save(scene(one)).id: name for name, one in persons_by_name.items()}
    requested = Filters(persons=PersonFilters(**filters))
    found = persons.page_of_persons(requested, size=9, cursor=None).items
    assert "".join(sorted(names[each.image.id] for each in found)) == expected
    images = queries.page_of_images(requested, size=9, cursor=None).items
    assert "".join(sorted(names[image.id] for image in images)) == expected


def test_one_person_must_match_all_filters(few):
    queries.save(scene(CALM, CROSS, faces=(HAPPY,)))
    both = Filters(persons=PersonFilters(category="Peace", min_arousal=8))
    assert queries.page_of_images(both, size=9, cursor=None).items == []
    assert persons.page_of_persons(both, size=9, cursor=None).items == []


def test_filters_on_images_faces_and_persons_are_combined(few):
    both = queries.save(scene(CROSS, faces=(HAPPY,), minutes=1))
    queries.save(scene(CALM, faces=(ANGRY,), minutes=2))
    queries.save(scene(CROSS, faces=(HAPPY,), minutes=3, file_name="b.jpg"))
    queries.save(scene(CALM, faces=(HAPPY,), minutes=4))
    requested = Filters(
        emotion="happiness", file_name="a.jpg", persons=PersonFilters(category="Anger")
    )
    (image,) = queries.page_of_images(requested, size=9, cursor=None).items
    (face,) = queries.page_of_faces(requested, size=9, cursor=None).items
    (found,) = persons.page_of_persons(requested, size=9, cursor=None).items
    assert [image.id, face.image.id, found.image.id] == [both.id] * 3
    assert (found.number, found.person) == (1, CROSS)
    assert found.image == replace(image, faces=(), persons=())


def test_min_score_without_category_raises_value_error():
    with pytest.raises(ValueError, match="min_score needs a category"):
        PersonFilters(min_score=0.5)


def test_pages_of_persons_have_no_gap_and_no_overlap():
    first = queries.save(scene(CALM, UNSURE, minutes=0)).id
    second = queries.save(scene(UNSURE, CALM, UNSURE, minutes=1)).id
    expected = [(second, 1), (second, 2), (second, 3), (first, 1), (first, 2)]
    for batch in (1, 2, 5, 9):
        found = persons.all_persons(Filters(), batch=batch)
        assert [(each.image.id, each.number) for each in found] == expected


def test_category_names_returns_the_stored_categories():
    assert persons.category_names() == []
    queries.save(scene(CALM))
    assert persons.category_names() == ["Anger", "Doubt/Confusion", "Pain", "Peace"]


def test_erase_deletes_the_persons_of_the_image(few):
    erased = queries.save(scene(CALM, UNSURE))
    other = queries.save(scene(UNSURE))
    queries.erase(erased.id)
    assert (rows(PersonRow), rows(CategoryRow)) == (1, 4)
    assert queries.get(other.id) == other
    with pytest.raises(NotFound):
        queries.get(erased.id)


def test_erase_matching_by_category_and_by_age(few):
    calm, unsure, old = (
        queries.save(scene(each, minutes=minutes))
        for each, minutes in ((CALM, 5), (UNSURE, 5), (UNSURE, 0))
    )
    assert queries.erase_matching(Filters(persons=PersonFilters(category="Peace"))) == 1
    assert queries.find(calm.id) is None
    assert queries.erase_matching(Filters(until=NOON + timedelta(minutes=1))) == 1
    assert queries.find(old.id) is None
    assert queries.get(unsure.id) == unsure
    assert (rows(PersonRow), rows(CategoryRow)) == (1, 4)


def test_number_of_statements_does_not_depend_on_the_size_of_the_page():
    for minute in range(6):
        queries.save(scene(CALM, CROSS, faces=(HAPPY,), minutes=minute))
    counts = []
    for size in (1, 6):
        seen = []
        listener = lambda *args, seen=seen: seen.append(args[2])  # noqa: E731
        event.listen(db.engine, "before_cursor_execute", listener)
        queries.page_of_images(Filters(), size=size, cursor=None)
        event.remove(db.engine, "before_cursor_execute", listener)
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 7
