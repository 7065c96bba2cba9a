"""Frames of a job in the store."""

from dataclasses import replace

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from app.store import frames, queries
from app.store.migrate import upgrade
from app.store.records import Filters
from app.store.tables import db
from app.vision.types import Frame
from tests.store.test_queries import HAPPY, analysis


@pytest.fixture(autouse=True)
def database(empty_database_app):
    upgrade()
    return empty_database_app


def save_frame(index, job="one"):
    frame = Frame(job, position_ms=200 * index, index=index)
    return queries.save(analysis(HAPPY, frame=frame, minutes=-index))


def test_frame_is_returned_as_it_was_saved():
    saved = save_frame(3)
    assert queries.get(saved.id) == saved
    assert queries.get(saved.id).frame == Frame("one", 600, 3)
    (listed,) = queries.page_of_images(Filters(), size=5, cursor=None).items
    assert listed == saved


def test_frames_of_a_job_are_paged_in_ascending_order():
    saved = {index: save_frame(index) for index in (4, 0, 3, 1, 2)}
    save_frame(0, job="other")
    queries.save(analysis(HAPPY))
    assert frames.page_of_frames("one", size=2) == [saved[0], saved[1]]
    assert frames.page_of_frames("one", size=9, after=1) == [saved[2], saved[3], saved[4]]
    assert frames.page_of_frames("one", size=9, after=4) == []


def test_saving_a_frame_of_a_job_twice_is_rejected():
    first = save_frame(1)
    with pytest.raises(IntegrityError):
        save_frame(1)
    save_frame(1, job="other")
    assert frames.page_of_frames("one", size=9) == [first]
    plain = [queries.save(analysis()) for _ in range(2)]  # images without a job are not limited
    assert [replace(each, frame=None) for each in plain] == plain


@pytest.mark.parametrize("empty_database_app", ["sqlite"], indirect=True)  # reads the query plan
def test_page_of_frames_uses_a_range_of_an_index():
    save_frame(0)
    statements = []
    event.listen(db.engine, "before_cursor_execute", lambda *args: statements.append(args[2:4]))
    frames.page_of_frames("one", size=2, after=0)
    statement, parameters = next(each for each in statements if "ORDER BY" in each[0])
    plan = db.session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
    (step,) = (row[-1] for row in plan)
    assert "ix_images_job_id_frame_index (job_id=? AND frame_index>?)" in step
