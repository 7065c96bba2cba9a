"""Paths, permissions and URLs of the database."""

import os
import shutil
import stat
import subprocess
import sys

import pytest

from app import create_app
from app.errors import StoreUnavailable
from app.settings import ROOT, SettingError, Settings
from app.start import check_access_policy
from app.store import queries
from app.store.migrate import upgrade
from app.store.tables import db
from tests.store.test_queries import HAPPY, analysis

ODD_NAMES = ["a%b", "100%s (x)s", "a b", "a#b", "a?b=c", "grüße-🙂", "a&b;c'd\"e", "%2F", "sqlite:"]
CREATE_DATABASE = """
import os, sys
os.umask(int(sys.argv[2], 8))
from app import create_app
from app.settings import Settings
from app.store import queries
from app.store.migrate import upgrade
from tests.store.test_queries import HAPPY, analysis
with create_app(Settings(database_url=sys.argv[1])).app_context():
    upgrade()
    queries.save(analysis(HAPPY))
    os._exit(0)  # without cleanup, so that the log files remain
"""


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", ["000", "022", "077"])
def test_only_the_owner_can_read_a_new_database(tmp_path, umask):
    folder = tmp_path / "new" / "folder"
    arguments = [f"sqlite:///{folder / 'a.db'}", umask]
    subprocess.run(
        [sys.executable, "-c", CREATE_DATABASE, *arguments], cwd=ROOT, check=True, timeout=120
    )
    files = {path.name: mode(path) for path in folder.iterdir()}
    assert files == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}
    assert [mode(folder), mode(folder.parent)] == [0o700, 0o700]


def test_modes_of_existing_folders_and_files_are_not_changed(tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "old.db").touch()
    (tmp_path / "old.db").chmod(0o640)
    for name in ("old.db", "new.db"):
        with create_app(Settings(database_url=f"sqlite:///{tmp_path / name}")).app_context():
            upgrade()
            db.engine.dispose()
    assert mode(tmp_path) == 0o755
    assert mode(tmp_path / "old.db") == 0o640
    assert mode(tmp_path / "new.db") == 0o600


def test_new_connection_keeps_the_locks_of_other_connections(settings, tmp_path):
    """Otherwise another process would delete the write-ahead log while it is in use."""
    with create_app(Settings(database_url=settings.database_url)).app_context():
        queries.save(analysis(HAPPY))
        with db.engine.connect(), db.engine.connect():
            script = (
                "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM mark')"
            )
            command = [sys.executable, "-c", script, str(tmp_path / "test.db")]
            subprocess.run(command, check=True, timeout=60)
            assert (tmp_path / "test.db-wal").exists()
        db.engine.dispose()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_path_of_the_database_is_taken_literally(tmp_path, name):
    file = tmp_path / name / f"{name}.db"
    with create_app(Settings(database_url=f"sqlite:///{file}")).app_context():
        upgrade()
        queries.save(analysis(HAPPY))
        db.engine.dispose()
    assert file.stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_relative_path_starts_at_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with create_app(Settings(database_url="sqlite:///a?b/x.db")).app_context():
        upgrade()
        db.engine.dispose()
    assert (tmp_path / "a?b" / "x.db").exists()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_path_of_the_migrations_may_have_any_name(tmp_path, name):
    migrations = tmp_path / name / "migrations"
    shutil.copytree(ROOT / "migrations", migrations)
    app = create_app(Settings(database_url=f"sqlite:///{tmp_path / 'a.db'}"))
    app.extensions["migrations"] = migrations
    with app.app_context():
        upgrade()
        assert queries.revision_problem() is None
        db.engine.dispose()


def test_folder_that_cannot_be_created_is_a_setting_error(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a.db", tmp_path / ("x" * 300) / "a.db"):
        wrong = Settings(database_url=f"sqlite:///{path}")
        for start in (create_app, check_access_policy):
            with pytest.raises(SettingError, match="EMOTION_DATABASE_URL: cannot create folder"):
                start(wrong)


def test_upgrade_reports_a_folder_without_write_permission(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"],
        cwd=ROOT,
        env={**os.environ, "EMOTION_DATABASE_URL": "sqlite:////proc/nowhere/a.db"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 1
    assert "error: EMOTION_DATABASE_URL: cannot create folder /proc/nowhere" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:a.db",
        "sqlite://host/a.db",
        "mysql://a/b",
        "postgresql://a:b@host:port/name",
        "postgresql://a:b@host/name?connect_timeout=soon",
        "sqlite:///a\0b",
    ],
)
def test_invalid_database_url_is_a_setting_error(url):
    with pytest.raises(SettingError, match="EMOTION_DATABASE_URL: ") as raised:
        create_app(Settings(database_url=url))
    assert "a:b" not in str(raised.value)  # the password


def upgrade_in_processes(url, count):
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
    environment = {**os.environ, "EMOTION_DATABASE_URL": url}
    started = [
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(count)
    ]
    return [
        (process.communicate(timeout=120)[0].decode(), process.returncode) for process in started
    ]


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_several_processes_can_upgrade_at_the_same_time(request, tmp_path, kind):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    if kind == "postgres":
        url = request.getfixturevalue("postgres_url")
    assert upgrade_in_processes(url, 4) == [("", 0)] * 4
    with create_app(Settings(database_url=url)).app_context():
        assert queries.revision_problem() is None
        queries.save(analysis(HAPPY))
        db.engine.dispose()


def test_failed_migration_changes_nothing(tmp_path):
    """The transaction of the migration is rolled back on SQLite too."""
    shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    last = max((tmp_path / "migrations" / "versions").glob("0*.py"))
    last.write_text(last.read_text() + "\n\ncomplete_upgrade = upgrade\n\n\ndef upgrade():\n"
                    "    complete_upgrade()\n    raise RuntimeError('failure')\n")  # fmt: skip
    app = create_app(Settings(database_url=f"sqlite:///{tmp_path / 'a.db'}"))
    app.extensions["migrations"] = tmp_path / "migrations"
    with app.app_context():
        with pytest.raises(RuntimeError, match="failure"):
            upgrade()
        assert "None, not" in queries.revision_problem()
        app.extensions["migrations"] = ROOT / "migrations"
        upgrade()
        assert queries.revision_problem() is None
        db.engine.dispose()


@pytest.mark.parametrize("change", ["removed", "moved", "replaced"])
def test_removed_or_replaced_database_file_rejects_writes(tmp_path, change):
    path = tmp_path / "emotion.db"
    app = create_app(Settings(database_url=f"sqlite:///{path}"))
    with app.app_context():
        upgrade()
        queries.save(analysis(HAPPY))
        if change == "removed":
            path.unlink()
        elif change == "moved":
            path.rename(tmp_path / "moved.db")
        else:
            shutil.copy(path, tmp_path / "copy.db")
            (tmp_path / "copy.db").replace(path)
        with pytest.raises(StoreUnavailable) as raised:
            queries.save(analysis(HAPPY))
        assert "removed or replaced" in raised.value.for_operator


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://user:s3cr@tTAIL@127.0.0.1/x", "%40"),
        ("postgresql://user:pw@127.0.0.1/x?nonsense=TAIL", "nonsense"),
    ],
)
def test_error_of_a_url_names_the_mistake_without_secrets(url, expected):
    with pytest.raises(SettingError) as raised:
        create_app(Settings(database_url=url))
    assert expected in str(raised.value)
    assert "TAIL" not in str(raised.value)
