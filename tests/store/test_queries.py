"""Saving, erasing and reading images on both databases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import event, select, text

from app.errors import InvalidCursor, NotFound, StoreUnavailable, TooWideSpan
from app.store import planning, queries, summary
from app.store.records import Filters
from app.store.tables import EmotionRow, FaceRow, ImageRow, db
from app.vision.types import Analysis, Box, Face, ModelRef, Scores

MODEL = ModelRef("net_8", "1.0", "0" * 64)
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def face(x=10.0, **probabilities):
    rest = 1 - sum(probabilities.values())
    return Face(Box(x, 20.25, x + 30, 50.5), Scores({"neutral": rest, **probabilities}), 0.5)


HAPPY = face(happiness=0.9)
ANGRY = face(50.0, happiness=0.1, anger=0.7)
CALM = face(happiness=0.2)


def analysis(*faces, minutes=0, **changes):
    created = Analysis(
        file_name="a.jpg",
        threshold=0.2,
        width=300,
        height=200,
        faces=faces,
        model=MODEL,
        detector="haar",
        timings_ms={"decode": 1.5},
        created_at=NOON + timedelta(minutes=minutes),
    )
    return replace(created, **changes)


# Filters use an index only if few rows match. The result must be the same in both cases.
with_and_without_index = pytest.mark.parametrize("few", [0, planning.FEW], indirect=True)


@pytest.fixture
def few(request, monkeypatch):
    monkeypatch.setattr(planning, "FEW", request.param)


@pytest.fixture(autouse=True)
def database(database_app):
    return database_app


def rows(table):
    return db.session.scalar(select(db.func.count()).select_from(table))


def ids(filters=None, **options):
    page = queries.page_of_images(filters or Filters(), **{"size": 50, "cursor": None} | options)
    return [found.id for found in page.items]


def test_saved_analysis_is_returned_unchanged():
    unsaved = analysis(HAPPY, ANGRY)
    saved = queries.save(unsaved)
    assert saved == replace(unsaved, id=saved.id)
    db.session.expunge_all()
    assert queries.get(saved.id) == saved
    assert list(queries.get(saved.id).faces[1].emotions) == ["neutral", "happiness", "anger"]


def test_image_without_faces_is_stored():
    saved = queries.save(analysis())
    assert queries.get(saved.id).faces == ()


def test_times_are_returned_in_utc():
    local = NOON.astimezone(timezone(timedelta(hours=9)))
    saved = queries.save(analysis(created_at=local))
    assert queries.get(saved.id).created_at == NOON
    assert queries.get(saved.id).created_at.utcoffset() == timedelta(0)


def test_failed_save_leaves_no_rows(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(db.session, "commit", lambda: (_ for _ in ()).throw(RuntimeError("failure")))
        with pytest.raises(RuntimeError, match="failure"):
            queries.save(analysis(HAPPY))
    assert (rows(ImageRow), rows(FaceRow), rows(EmotionRow)) == (0, 0, 0)
    queries.save(analysis(HAPPY))
    assert (rows(ImageRow), rows(FaceRow), rows(EmotionRow)) == (1, 1, 2)


def test_erase_deletes_only_the_rows_of_the_image():
    erased, other = (queries.save(analysis(HAPPY, ANGRY)) for _ in range(2))
    queries.erase(erased.id)
    with pytest.raises(NotFound):
        queries.get(erased.id)
    assert queries.get(other.id) == other
    assert (rows(ImageRow), rows(FaceRow), rows(EmotionRow)) == (1, 2, 5)
    with pytest.raises(NotFound):
        queries.erase(erased.id)


def test_id_of_an_erased_image_is_never_used_again():
    last = queries.save(analysis())
    queries.erase(last.id)
    assert queries.save(analysis()).id > last.id


@pytest.mark.parametrize("number", [0, 7, 2**31, 2**63 - 1])
def test_unknown_id_raises_not_found(number):
    with pytest.raises(NotFound):
        queries.get(number)
    with pytest.raises(NotFound):
        queries.erase(number)


def test_pages_are_newest_first_without_gap_and_overlap():
    # Images with the same time are in the order of their ids.
    saved = [queries.save(analysis(HAPPY, minutes=m)).id for m in (0, 5, 5, 3, 9)]
    newest_first = [saved[4], saved[2], saved[1], saved[3], saved[0]]
    assert ids() == newest_first
    found_ids, cursor = [], None
    while True:
        page = queries.page_of_images(Filters(), size=2, cursor=cursor)
        found_ids += [found.id for found in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert found_ids == newest_first


def test_full_last_page_has_no_next_cursor():
    for _ in range(2):
        queries.save(analysis())
    assert queries.page_of_images(Filters(), size=2, cursor=None).next_cursor is None


def test_pages_after_a_cursor_do_not_change_when_images_are_added():
    old = [queries.save(analysis(minutes=m)).id for m in range(3)]
    page = queries.page_of_images(Filters(), size=1, cursor=None)
    queries.save(analysis(minutes=9))
    assert ids(cursor=page.next_cursor) == [old[1], old[0]]


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "####",
        "MTIz",
        "MS4yLjM",
        "MS4tMQ",
        "ü",
        "LjE",
        "MS4xMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMw",
    ],
)
def test_invalid_cursor_is_rejected(cursor):
    with pytest.raises(InvalidCursor):
        ids(cursor=cursor)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(), "abcd"),
        (Filters(emotion="happiness"), "a"),
        (Filters(emotion="anger"), "b"),
        (Filters(emotion="neutral"), "c"),
        (Filters(emotion="happiness", min_probability=0.15), "ac"),
        (Filters(emotion="happiness", min_probability=0.1), "abc"),
        (Filters(emotion="happiness", min_probability=0.6), "a"),
        (Filters(emotion="anger", min_probability=0.6), "b"),
        (Filters(emotion="anger", min_probability=0.75), ""),
        (Filters(min_probability=0.75), "ac"),
        (Filters(min_probability=0.7), "abc"),
        (Filters(min_probability=0), "abc"),
        (Filters(emotion="contempt"), ""),
        (Filters(emotion="contempt", min_probability=0), ""),
        (Filters(file_name="b.jpg"), "b"),
        (Filters(file_name="B.jpg"), ""),
        (Filters(model="net_5"), "d"),
        (Filters(min_faces=1), "abc"),
        (Filters(min_faces=2), "b"),
        (Filters(since=NOON + timedelta(minutes=2)), "cd"),
        (Filters(until=NOON + timedelta(minutes=2)), "ab"),
        (Filters(since=NOON, until=NOON + timedelta(minutes=1)), "a"),
        (Filters(emotion="happiness", min_faces=2), ""),
    ],
    ids=str,
)
@with_and_without_index
def test_filters_select_images(few, filters, expected):
    by_id = {
        queries.save(analysis(HAPPY, minutes=0)).id: "a",
        queries.save(analysis(ANGRY, ANGRY, minutes=1, file_name="b.jpg")).id: "b",
        queries.save(analysis(CALM, minutes=2)).id: "c",
        queries.save(analysis(minutes=3, model=replace(MODEL, name="net_5"))).id: "d",
    }
    assert "".join(sorted(by_id[i] for i in ids(filters))) == expected


def test_pages_of_faces_are_in_the_order_of_images():
    first = queries.save(analysis(HAPPY, ANGRY, CALM, minutes=0)).id
    second = queries.save(analysis(CALM, HAPPY, minutes=1)).id
    found_ids, cursor = [], None
    while True:
        page = queries.page_of_faces(Filters(), size=2, cursor=cursor)
        found_ids += [(found.image.id, found.number) for found in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert found_ids == [(second, 1), (second, 2), (first, 1), (first, 2), (first, 3)]


@with_and_without_index
def test_page_of_faces_holds_only_faces_that_match(few):
    queries.save(analysis(HAPPY, ANGRY))
    (found,) = queries.page_of_faces(Filters(emotion="anger"), size=9, cursor=None).items
    assert (found.number, found.face) == (2, ANGRY)


@with_and_without_index
def test_all_faces_reads_all_pages(few):
    for minute in range(5):
        queries.save(analysis(HAPPY, CALM, minutes=minute))
    found = list(queries.all_faces(Filters(emotion="happiness"), batch=2))
    assert [(each.number, each.face) for each in found] == [(1, HAPPY)] * 5


def test_emotion_names_returns_the_stored_emotions():
    assert queries.emotion_names() == []
    queries.save(analysis(HAPPY, ANGRY))
    assert queries.emotion_names() == ["anger", "happiness", "neutral"]


def test_summary_counts_by_span():
    queries.save(analysis(HAPPY, ANGRY, minutes=0))
    queries.save(analysis(minutes=30))
    queries.save(analysis(CALM, minutes=60))
    queries.save(analysis(HAPPY, minutes=60 * 24, model=replace(MODEL, name="net_5")))
    hours = summary.summarise(Filters(), by="hour")
    assert [(span.span, span.images, span.faces) for span in hours] == [
        ("2026-05-04T12:00:00Z", 2, 2),
        ("2026-05-04T13:00:00Z", 1, 1),
        ("2026-05-05T12:00:00Z", 1, 1),
    ]
    assert hours[0].dominant == {"anger": 1, "happiness": 1}
    assert hours[0].mean_probability == pytest.approx(
        {"anger": 0.7, "happiness": 0.5, "neutral": 0.15}
    )
    days = summary.summarise(Filters(), by="day")
    assert [(span.span, span.images) for span in days] == [("2026-05-04", 3), ("2026-05-05", 1)]
    models = summary.summarise(Filters(), by="model")
    assert [(span.span, span.faces) for span in models] == [("net_5", 1), ("net_8", 3)]


@with_and_without_index
def test_summary_with_a_filter_on_faces_counts_matching_faces(few):
    queries.save(analysis(HAPPY, ANGRY))
    queries.save(analysis(CALM))
    (day,) = summary.summarise(Filters(emotion="anger"), by="day")
    assert (day.images, day.faces, day.dominant) == (1, 1, {"anger": 1})
    assert summary.summarise(Filters(emotion="contempt"), by="day") == []


def test_number_of_queries_does_not_depend_on_the_size_of_the_page():
    for minute in range(6):
        queries.save(analysis(HAPPY, ANGRY, minutes=minute))
    counts = []
    for size in (1, 6):
        db.session.expunge_all()
        seen = []
        listener = lambda *args, seen=seen: seen.append(args[2])  # noqa: E731
        event.listen(db.engine, "before_cursor_execute", listener)
        queries.page_of_images(Filters(), size=size, cursor=None)
        event.remove(db.engine, "before_cursor_execute", listener)
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 5  # BEGIN, keys, images, faces, emotions


def test_database_without_tables_raises_store_unavailable():
    for table in ("categories", "persons", "emotions", "faces", "retries", "images"):
        db.session.execute(text(f"DROP TABLE {table}"))
    db.session.commit()
    with pytest.raises(StoreUnavailable):
        queries.save(analysis(HAPPY))
    with pytest.raises(StoreUnavailable):
        queries.page_of_images(Filters(), size=1, cursor=None)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # reads the query plan
def test_later_page_of_faces_uses_a_range_of_an_index():
    for minute in range(3):
        queries.save(analysis(HAPPY, minutes=minute))
    cursor = queries.page_of_faces(Filters(), size=1, cursor=None).next_cursor
    statements = []
    event.listen(db.engine, "before_cursor_execute", lambda *args: statements.append(args[2:4]))
    queries.page_of_faces(Filters(), size=1, cursor=cursor)
    (statement, parameters) = next(each for each in statements if "ORDER BY" in each[0])
    plan = db.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    steps = [row[-1] for row in plan]
    assert any("SEARCH images USING" in step and "created_at<" in step for step in steps), steps


def test_spans_do_not_depend_on_the_date_style_of_the_server():
    queries.save(analysis(HAPPY))
    if db.engine.dialect.name == "postgresql":
        name = db.engine.url.database
        db.session.execute(text(f"ALTER DATABASE {name} SET datestyle TO 'SQL, DMY'"))
        db.session.commit()
        db.engine.dispose()
    (hour,) = summary.summarise(Filters(), by="hour")
    (day,) = summary.summarise(Filters(), by="day")
    assert (hour.span, day.span) == ("2026-05-04T12:00:00Z", "2026-05-04")


def test_summary_of_too_many_images_is_rejected_with_advice(monkeypatch):
    monkeypatch.setattr(summary, "MAX_IMAGES", 2)
    for minute in range(3):
        queries.save(analysis(HAPPY, minutes=minute))
    with pytest.raises(TooWideSpan, match="since and until"):
        summary.summarise(Filters(min_faces=1), by="day")
    later = Filters(since=NOON + timedelta(minutes=1), min_faces=1)
    (day,) = summary.summarise(later, by="day")
    assert day.images == 2


@pytest.mark.parametrize(
    ("emotion", "min_probability", "expected"),
    [("joy", 0.8, "ab"), ("awe", 0.8, "ac"), ("awe", 0.95, "a"), ("happiness", 0.8, "d")],
)
@with_and_without_index
def test_min_probability_matches_all_labels_of_independent_scores(
    few, emotion, min_probability, expected
):
    """Several independent scores can be above one half, not only that of the dominant label."""
    scores = {"a": (0.9, 0.99), "b": (0.85, 0.1), "c": (0.1, 0.8)}
    names = {}
    for name, (joy, awe) in scores.items():
        emotions = Scores({"joy": joy, "awe": awe}, exclusive=False)
        names[queries.save(analysis(replace(HAPPY, emotions=emotions))).id] = name
    names[queries.save(analysis(HAPPY)).id] = "d"
    filters = Filters(emotion=emotion, min_probability=min_probability)
    assert "".join(sorted(names[i] for i in ids(filters))) == expected
    found = queries.page_of_faces(filters, size=9, cursor=None).items
    assert "".join(sorted(names[each.image.id] for each in found)) == expected
