"""The fault run itself, in small, and that its count finds what is wrong."""

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


# So few posts may all be answered between two kills, or by workers that were not killed.
ATTEMPTS = 4


@pytest.mark.serial
@pytest.mark.weights
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_accepted_is_lost(fault):
    if fault in NEEDS_ROOT:
        need(os.geteuid() == 0 and shutil.which("runuser"), "only root may stop and fill things")
    if fault == "stopped":
        need(Path("/usr/lib/postgresql").is_dir(), "no PostgreSQL of Debian's")
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
    assert noticed, "it broke nothing"


@pytest.fixture
def stored(tmp_path):
    """A database with three images of one face each, what their clients were told, and the folder
    of their pictures."""
    database = f"sqlite:///{tmp_path / 'some.db'}"
    pictures = tmp_path / "pictures"
    app = create_app(Settings(database_url=database, keep_pictures=True, pictures_dir=pictures))
    outcome = Outcome()
    with app.app_context():
        upgrade()
        for number in range(3):
            name = f"{number}.jpg"
            kept = queries.save(analysis(FACE, file_name=name), picture=b"a picture")
            outcome.accepted[name] = (kept.id, 1)

        def harm(sql):
            db.session.execute(text(sql))
            db.session.commit()

        yield lambda: judge(database, outcome, pictures), harm, pictures


def test_what_is_well_is_found_well(stored):
    judged, _, _ = stored
    assert judged().well
    assert (judged().stored, judged().strays) == (3, 0)


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        ("DELETE FROM images WHERE file_name = '1.jpg'", "lost"),
        ("UPDATE images SET file_name = '0.jpg' WHERE file_name = '1.jpg'", "doubled"),
        ("DELETE FROM emotions WHERE face_id = 1", "torn"),
        ("DELETE FROM faces", "torn"),
        ("UPDATE images SET file_name = 'x.jpg' WHERE file_name = '1.jpg'", "unasked"),
    ],
)
def test_what_is_wrong_is_counted(stored, harm, kind):
    judged, execute, _ = stored
    execute(harm)
    assert getattr(judged(), kind) >= 1
    assert not judged().well


def test_a_picture_that_is_gone_and_one_of_nobody_are_counted(stored):
    judged, _, pictures = stored
    file = next(pictures.glob("*/*"))
    file.rename(file.with_name("x"))
    assert (judged().torn, judged().strays, judged().well) == (1, 1, False)


def test_a_file_whose_removal_is_scheduled_is_counted_apart(stored):
    judged, execute, pictures = stored
    (pictures / "00").mkdir(exist_ok=True)
    (pictures / "00" / "x").write_bytes(b"left")
    assert (judged().waiting, judged().strays, judged().well) == (0, 1, False)
    execute("INSERT INTO file_removals (name, due_at) VALUES ('x', '2000-01-01 00:00:00')")
    assert (judged().waiting, judged().strays, judged().well) == (1, 0, True)
