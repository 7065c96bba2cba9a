"""The migrations make just the tables that the code works with, and can be undone."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask_migrate import downgrade, upgrade
from sqlalchemy import inspect

from app.store import queries
from app.store.tables import Base, db


def tables():
    return sorted(set(inspect(db.engine).get_table_names()) - {"alembic_version"})


def test_upgrade_makes_the_tables_and_downgrade_removes_them(empty_database_app):
    upgrade()
    assert tables() == ["emotions", "faces", "hour_emotions", "hours", "images", "mark"]
    downgrade(revision="base")
    assert tables() == []
    upgrade()
    assert tables() == ["emotions", "faces", "hour_emotions", "hours", "images", "mark"]


def test_the_migrated_tables_are_those_of_the_code(empty_database_app):
    upgrade()
    with db.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_readiness_knows_the_revision(empty_database_app):
    assert "None, not 0004" in queries.revision_problem()
    upgrade()
    assert queries.revision_problem() is None


def test_every_step_can_be_undone_alone(empty_database_app):
    scripts = ScriptDirectory(str(empty_database_app.extensions["migrate"].directory))
    revisions = [script.revision for script in scripts.walk_revisions()][::-1]
    for revision in revisions:
        upgrade(revision=revision)
        downgrade(revision="-1")
        upgrade(revision=revision)
    assert queries.revision_problem() is None


def test_revisions_are_one_numbered_line(empty_database_app):
    scripts = ScriptDirectory(str(empty_database_app.extensions["migrate"].directory))
    line = list(scripts.walk_revisions())[::-1]
    assert [script.revision for script in line] == [f"{n:04}" for n in range(1, len(line) + 1)]
    for script in line:
        assert script.path.rsplit("/", 1)[-1].startswith(f"{script.revision}_")
