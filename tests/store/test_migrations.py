"""The migrations create the tables of the code, and can be downgraded."""

from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from app.store import planning, queries, rollups, summary
from app.store.migrate import downgrade, upgrade
from app.store.records import Filters
from app.store.tables import Base, db
from app.vision.types import Scores
from tests.store.test_queries import ANGRY, HAPPY, analysis

TABLES = [
    "categories",
    "emotions",
    "faces",
    "file_removals",
    "hour_categories",
    "hour_emotions",
    "hours",
    "images",
    "keys",
    "mark",
    "person_models",
    "persons",
    "retries",
    "store",
]


def tables():
    return sorted(set(inspect(db.engine).get_table_names()) - {"alembic_version"})


def test_upgrade_creates_the_tables_and_downgrade_removes_them(empty_database_app):
    upgrade()
    assert tables() == TABLES
    downgrade(revision="base")
    assert tables() == []
    upgrade()
    assert tables() == TABLES


def test_migrated_tables_equal_the_tables_of_the_code(empty_database_app):
    upgrade()
    with db.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_revision_problem_names_the_revision(empty_database_app):
    assert "None, not 0010" in queries.revision_problem()
    upgrade()
    assert queries.revision_problem() is None


def test_each_migration_can_be_downgraded(empty_database_app):
    scripts = ScriptDirectory(str(empty_database_app.extensions["migrations"]))
    revisions = [script.revision for script in scripts.walk_revisions()][::-1]
    for revision in revisions:
        upgrade(revision=revision)
        downgrade(revision="-1")
        upgrade(revision=revision)
    assert queries.revision_problem() is None


def test_images_survive_a_downgrade_and_an_upgrade(empty_database_app):
    upgrade()
    saved = [queries.save(analysis(HAPPY, ANGRY)), queries.save(analysis())]
    downgrade(revision="0001")
    upgrade()
    assert [queries.get(one.id) for one in saved] == [replace(one, dropped={}) for one in saved]
    for few in (0, planning.FEW):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(planning, "FEW", few)
            for probability, found in ((0.65, 2), (0.8, 1), (0.95, 0)):
                page = queries.page_of_faces(
                    Filters(min_probability=probability), size=9, cursor=None
                )
                assert len(page.items) == found


def test_downgrade_deletes_faces_that_the_older_revision_cannot_read(empty_database_app):
    upgrade()
    independent = replace(HAPPY, emotions=Scores({"joy": 0.9, "awe": 0.8}, exclusive=False))
    kept = queries.save(analysis(HAPPY))
    saved = queries.save(analysis(independent, minutes=-1))
    rollups.add_new_images()
    downgrade(revision="0009")
    upgrade()
    page = queries.page_of_images(Filters(), size=9, cursor=None)
    assert page.items == [kept, replace(saved, faces=())]
    (span,) = summary.summarise(Filters(), by="model")
    assert (span.images, span.faces, span.sums["net_8"]) == (2, 1, dict(HAPPY.emotions))


def test_revisions_are_numbered_in_one_sequence(empty_database_app):
    scripts = ScriptDirectory(str(empty_database_app.extensions["migrations"]))
    sequence = list(scripts.walk_revisions())[::-1]
    assert [script.revision for script in sequence] == [
        f"{n:04}" for n in range(1, len(sequence) + 1)
    ]
    for script in sequence:
        assert script.path.rsplit("/", 1)[-1].startswith(f"{script.revision}_")
