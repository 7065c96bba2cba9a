"""The store on both databases."""

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
    made = Analysis(
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
    return replace(made, **changes)


# Few matches are found by an index, many are tested row after row: the result must be the same.
either_way = pytest.mark.parametrize("few", [0, planning.FEW], indirect=True)


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


def test_what_is_saved_comes_back_whole():
    given = analysis(HAPPY, ANGRY)
    saved = queries.save(given)
    assert saved == replace(given, id=saved.id)
    db.session.expunge_all()
    assert queries.get(saved.id) == saved
    assert list(queries.get(saved.id).faces[1].emotions) == ["neutral", "happiness", "anger"]


def test_an_image_without_faces_is_stored_too():
    saved = queries.save(analysis())
    assert queries.get(saved.id).faces == ()


def test_times_come_back_as_utc_whatever_zone_they_were_given_in():
    local = NOON.astimezone(timezone(timedelta(hours=9)))
    saved = queries.save(analysis(created_at=local))
    assert queries.get(saved.id).created_at == NOON
    assert queries.get(saved.id).created_at.utcoffset() == timedelta(0)


def test_nothing_is_kept_of_a_save_that_fails(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(db.session, "commit", lambda: (_ for _ in ()).throw(RuntimeError("power")))
        with pytest.raises(RuntimeError, match="power"):
            queries.save(analysis(HAPPY))
    assert (rows(ImageRow), rows(FaceRow), rows(EmotionRow)) == (0, 0, 0)
    queries.save(analysis(HAPPY))
    assert (rows(ImageRow), rows(FaceRow), rows(EmotionRow)) == (1, 1, 2)


def test_erasing_takes_all_that_belongs_to_an_image_and_nothing_else():
    gone, kept = (queries.save(analysis(HAPPY, ANGRY)) for _ in range(2))
    queries.erase(gone.id)
    with pytest.raises(NotFound):
        queries.get(gone.id)
    assert queries.get(kept.id) == kept
    assert (rows(ImageRow), rows(FaceRow), rows(EmotionRow)) == (1, 2, 5)
    with pytest.raises(NotFound):
        queries.erase(gone.id)


def test_an_erased_id_is_never_given_out_again():
    last = queries.save(analysis())
    queries.erase(last.id)
    assert queries.save(analysis()).id > last.id


@pytest.mark.parametrize("number", [0, 7, 2**31, 2**63 - 1])
def test_unknown_ids_are_not_found(number):
    with pytest.raises(NotFound):
        queries.get(number)
    with pytest.raises(NotFound):
        queries.erase(number)


def test_pages_are_newest_first_and_meet_without_gap_or_overlap():
    # Two at the same time: the id decides.
    saved = [queries.save(analysis(HAPPY, minutes=m)).id for m in (0, 5, 5, 3, 9)]
    newest_first = [saved[4], saved[2], saved[1], saved[3], saved[0]]
    assert ids() == newest_first
    walked, cursor = [], None
    while True:
        page = queries.page_of_images(Filters(), size=2, cursor=cursor)
        walked += [found.id for found in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert walked == newest_first


def test_a_page_that_is_just_full_is_the_last():
    for _ in range(2):
        queries.save(analysis())
    assert queries.page_of_images(Filters(), size=2, cursor=None).next_cursor is None


def test_new_images_do_not_disturb_a_walk():
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
def test_a_cursor_that_was_not_given_out_is_refused(cursor):
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
@either_way
def test_filters(few, filters, expected):
    by_id = {
        queries.save(analysis(HAPPY, minutes=0)).id: "a",
        queries.save(analysis(ANGRY, ANGRY, minutes=1, file_name="b.jpg")).id: "b",
        queries.save(analysis(CALM, minutes=2)).id: "c",
        queries.save(analysis(minutes=3, model=replace(MODEL, name="net_5"))).id: "d",
    }
    assert "".join(sorted(by_id[i] for i in ids(filters))) == expected


def test_faces_across_images_are_paged_in_the_order_of_images():
    first = queries.save(analysis(HAPPY, ANGRY, CALM, minutes=0)).id
    second = queries.save(analysis(CALM, HAPPY, minutes=1)).id
    walked, cursor = [], None
    while True:
        page = queries.page_of_faces(Filters(), size=2, cursor=cursor)
        walked += [(found.image.id, found.number) for found in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert walked == [(second, 1), (second, 2), (first, 1), (first, 2), (first, 3)]


@either_way
def test_only_the_faces_that_match_are_found(few):
    queries.save(analysis(HAPPY, ANGRY))
    (found,) = queries.page_of_faces(Filters(emotion="anger"), size=9, cursor=None).items
    assert (found.number, found.face) == (2, ANGRY)


@either_way
def test_all_faces_walks_over_many_pages(few):
    for minute in range(5):
        queries.save(analysis(HAPPY, CALM, minutes=minute))
    found = list(queries.all_faces(Filters(emotion="happiness"), batch=2))
    assert [(each.number, each.face) for each in found] == [(1, HAPPY)] * 5


def test_emotion_names_are_those_that_are_stored():
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


@either_way
def test_summary_of_filtered_faces(few):
    queries.save(analysis(HAPPY, ANGRY))
    queries.save(analysis(CALM))
    (day,) = summary.summarise(Filters(emotion="anger"), by="day")
    assert (day.images, day.faces, day.dominant) == (1, 1, {"anger": 1})
    assert summary.summarise(Filters(emotion="contempt"), by="day") == []


def test_a_page_costs_the_same_few_queries_however_many_it_holds():
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


def test_a_database_without_tables_is_one_error_of_the_domain():
    for table in ("categories", "persons", "emotions", "faces", "retries", "images"):
        db.session.execute(text(f"DROP TABLE {table}"))
    db.session.commit()
    with pytest.raises(StoreUnavailable):
        queries.save(analysis(HAPPY))
    with pytest.raises(StoreUnavailable):
        queries.page_of_images(Filters(), size=1, cursor=None)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # reads its plan
def test_a_deep_page_of_faces_reads_no_more_than_a_first():
    for minute in range(3):
        queries.save(analysis(HAPPY, minutes=minute))
    cursor = queries.page_of_faces(Filters(), size=1, cursor=None).next_cursor
    asked = []
    event.listen(db.engine, "before_cursor_execute", lambda *args: asked.append(args[2:4]))
    queries.page_of_faces(Filters(), size=1, cursor=cursor)
    (statement, parameters) = next(each for each in asked if "ORDER BY" in each[0])
    plan = db.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    steps = [row[-1] for row in plan]
    assert any("SEARCH images USING" in step and "created_at<" in step for step in steps), steps


def test_spans_are_written_as_rfc_3339_whatever_the_servers_style():
    queries.save(analysis(HAPPY))
    if db.engine.dialect.name == "postgresql":
        name = db.engine.url.database
        db.session.execute(text(f"ALTER DATABASE {name} SET datestyle TO 'SQL, DMY'"))
        db.session.commit()
        db.engine.dispose()
    (hour,) = summary.summarise(Filters(), by="hour")
    (day,) = summary.summarise(Filters(), by="day")
    assert (hour.span, day.span) == ("2026-05-04T12:00:00Z", "2026-05-04")


def test_a_summary_of_too_many_images_is_refused_with_advice(monkeypatch):
    monkeypatch.setattr(summary, "MOST_IMAGES", 2)
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
@either_way
def test_independent_scores_match_by_any_label_above_one_half(
    few, emotion, min_probability, expected
):
    """Several labels can be above one half, so the dominant label says nothing of the others."""
    scores = {"a": (0.9, 0.99), "b": (0.85, 0.1), "c": (0.1, 0.8)}
    names = {}
    for name, (joy, awe) in scores.items():
        emotions = Scores({"joy": joy, "awe": awe}, exclusive=False)
        names[queries.save(analysis(replace(HAPPY, emotions=emotions))).id] = name
    names[queries.save(analysis(HAPPY)).id] = "d"
    asked = Filters(emotion=emotion, min_probability=min_probability)
    assert "".join(sorted(names[i] for i in ids(asked))) == expected
    found = queries.page_of_faces(asked, size=9, cursor=None).items
    assert "".join(sorted(names[each.image.id] for each in found)) == expected
