"""A short run of the fault benchmark, and the checks of its verdict."""

import os
import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from app import create_app
from app.settings import Settings
from app.store import queries
from app.store.migrate import upgrade
from app.store.tables import db
from app.vision.types import Box, Face, Scores
from benchmarks.faults import run
from benchmarks.faults.breaking import FAULTS, Pauses
from benchmarks.faults.load import CLOSED, Outcome
from benchmarks.faults.verdict import judge
from tests.conftest import LABELS, need
from tests.store.test_queries import analysis

POSTS = 48
PAUSES = Pauses(kill=0.5, restart=2.0, full=2.0, stop=3.0)
FACE = Face(Box(1, 2, 30, 40), Scores(dict.fromkeys(LABELS, 1 / 8)), 0.9)
NEEDS_ROOT = {"full", "stopped"}
NOTICED_BY = {"killed": CLOSED, "restarted": CLOSED, "full": "503", "stopped": "503"}


# A run with few posts may have no failed request: all posts may fall between two kills, or reach
# workers that were not killed. Such a run is repeated.
ATTEMPTS = 4


@pytest.mark.serial
@pytest.mark.weights
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_loses_no_accepted_image(fault):
    if fault in NEEDS_ROOT:
        need(os.geteuid() == 0 and shutil.which("runuser"), "this fault needs root")
    if fault == "stopped":
        need(Path("/usr/lib/postgresql").is_dir(), "no PostgreSQL from Debian")
    noticed = 0
    for _ in range(ATTEMPTS):
        outcome, verdict, _ = run(fault, POSTS, PAUSES)
        assert verdict.well, verdict
        assert verdict.stored == len(outcome.accepted) == POSTS
        assert set(outcome.seen) <= {"201", "503", CLOSED}
        assert outcome.given_up == []
        assert outcome.ready["200"]
        assert set(outcome.ready) <= {"200", "503", CLOSED}
        if fault == "stopped":
            assert outcome.ready["503"]
        if noticed := outcome.seen[NOTICED_BY[fault]]:
            break
    assert noticed, "the fault had no effect"


@pytest.fixture
def stored(tmp_path):
    """(function that judges the store, function that runs SQL, folder of the image files).

    The store has three images with one face each, which were all accepted.
    """
    database = f"sqlite:///{tmp_path / 'some.db'}"
    folder = tmp_path / "images"
    app = create_app(Settings(database_url=database, keep_pictures=True, pictures_dir=folder))
    outcome = Outcome()
    with app.app_context():
        upgrade()
        for number in range(3):
            name = f"{number}.jpg"
            kept = queries.save(analysis(FACE, file_name=name), picture=b"a picture")
            outcome.accepted[name] = (kept.id, 1)

        def execute(sql):
            db.session.execute(text(sql))
            db.session.commit()

        yield lambda: judge(database, outcome, folder), execute, folder


def test_judge_accepts_a_consistent_store(stored):
    judged, _, _ = stored
    assert judged().well
    assert (judged().stored, judged().strays) == (3, 0)


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("DELETE FROM images WHERE file_name = '1.jpg'", "lost"),
        ("UPDATE images SET file_name = '0.jpg' WHERE file_name = '1.jpg'", "doubled"),
        ("DELETE FROM emotions WHERE face_id = 1", "torn"),
        ("DELETE FROM faces", "torn"),
        ("UPDATE images SET file_name = 'x.jpg' WHERE file_name = '1.jpg'", "unasked"),
    ],
)
def test_judge_counts_inconsistent_rows(stored, sql, kind):
    judged, execute, _ = stored
    execute(sql)
    assert getattr(judged(), kind) >= 1
    assert not judged().well


def test_judge_counts_missing_and_unreferenced_files(stored):
    judged, _, folder = stored
    file = next(folder.glob("*/*"))
    file.rename(file.with_name("x"))
    assert (judged().torn, judged().strays, judged().well) == (1, 1, False)


def test_judge_counts_files_with_a_scheduled_removal_separately(stored):
    judged, execute, folder = stored
    (folder / "00").mkdir(exist_ok=True)
    (folder / "00" / "x").write_bytes(b"left")
    assert (judged().waiting, judged().strays, judged().well) == (0, 1, False)
    execute("INSERT INTO file_removals (name, due_at) VALUES ('x', '2000-01-01 00:00:00')")
    assert (judged().waiting, judged().strays, judged().well) == (1, 0, True)
