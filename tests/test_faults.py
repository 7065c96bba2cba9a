"""Short fault runs, and the check of an inconsistent store."""

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
from benchmarks.faults.consistency import check_consistency
from benchmarks.faults.injection import FAULTS, Pauses
from benchmarks.faults.load import CLOSED, Outcome
from tests.conftest import LABELS, require
from tests.store.test_queries import analysis

POSTS = 24
PAUSES = Pauses(kill=1.0, restart=2.0, full=1.0, stop=2.0)
FACE = Face(Box(1, 2, 30, 40), Scores(dict.fromkeys(LABELS, 1 / 8)), 0.9)
NEEDS_ROOT = {"full", "stopped"}
VISIBLE_AS = {"killed": CLOSED, "restarted": CLOSED, "full": "503", "stopped": "503"}


# With few posts, a fault may have no visible effect.
ATTEMPTS = 4


@pytest.mark.serial
@pytest.mark.weights
@pytest.mark.parametrize("fault", FAULTS)
def test_no_accepted_image_is_lost(fault):
    if fault in NEEDS_ROOT:
        require(os.geteuid() == 0 and shutil.which("runuser"), "needs root and runuser")
    if fault == "stopped":
        require(Path("/usr/lib/postgresql").is_dir(), "needs the Debian package postgresql")
    visible = 0
    for _ in range(ATTEMPTS):
        outcome, report, _ = run(fault, POSTS, PAUSES)
        assert report.passed, report
        assert report.stored == len(outcome.accepted) == POSTS
        assert set(outcome.responses) <= {"201", "503", CLOSED}
        assert outcome.given_up == []
        assert outcome.ready["200"]
        assert set(outcome.ready) <= {"200", "503", CLOSED}
        if fault == "stopped":
            assert outcome.ready["503"]
        if visible := outcome.responses[VISIBLE_AS[fault]]:
            break
    assert visible, "the fault had no visible effect"


@pytest.fixture
def stored(tmp_path):
    """A store with three images of one face each.

    Yields a function that checks it, a function that executes SQL, and the folder of images.
    """
    database = f"sqlite:///{tmp_path / 'some.db'}"
    images_dir = tmp_path / "images"
    app = create_app(Settings(database_url=database, keep_pictures=True, pictures_dir=images_dir))
    outcome = Outcome()
    with app.app_context():
        upgrade()
        for number in range(3):
            name = f"{number}.jpg"
            saved = queries.save(analysis(FACE, file_name=name), image_file=b"an image")
            outcome.accepted[name] = (saved.id, 1)

        def execute(sql):
            db.session.execute(text(sql))
            db.session.commit()

        yield lambda: check_consistency(database, outcome, images_dir), execute, images_dir


def test_check_accepts_a_complete_store(stored):
    check, _, _ = stored
    assert check().passed
    assert (check().stored, check().orphans) == (3, 0)


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("DELETE FROM images WHERE file_name = '1.jpg'", "lost"),
        ("UPDATE images SET file_name = '0.jpg' WHERE file_name = '1.jpg'", "duplicated"),
        ("DELETE FROM emotions WHERE face_id = 1", "incomplete"),
        ("DELETE FROM faces", "incomplete"),
        ("UPDATE images SET file_name = 'x.jpg' WHERE file_name = '1.jpg'", "unconfirmed"),
    ],
)
def test_check_counts_inconsistent_rows(stored, sql, kind):
    check, execute, _ = stored
    execute(sql)
    assert getattr(check(), kind) >= 1
    assert not check().passed


def test_check_counts_missing_and_orphan_files(stored):
    check, _, images_dir = stored
    file = next(images_dir.glob("*/*"))
    file.rename(file.with_name("x"))
    assert (check().incomplete, check().orphans, check().passed) == (1, 1, False)


def test_check_counts_scheduled_removals_separately(stored):
    check, execute, images_dir = stored
    (images_dir / "00").mkdir(exist_ok=True)
    (images_dir / "00" / "x").write_bytes(b"left")
    assert (check().scheduled, check().orphans, check().passed) == (0, 1, False)
    execute("INSERT INTO file_removals (name, due_at) VALUES ('x', '2000-01-01 00:00:00')")
    assert (check().scheduled, check().orphans, check().passed) == (1, 0, True)
