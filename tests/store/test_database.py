"""Where the database is: paths, permissions, and what cannot be used."""

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
from tests.conftest import need
from tests.store.test_queries import HAPPY, analysis

ODD_NAMES = ["a%b", "100%s (x)s", "a b", "a#b", "a?b=c", "grüße-🙂", "a&b;c'd\"e", "%2F", "sqlite:"]
MAKE = """
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
    os._exit(0)  # as when it is killed: the log stays
"""


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", ["000", "022", "077"])
def test_only_its_owner_can_read_a_database(tmp_path, umask):
    folder = tmp_path / "made" / "here"
    arguments = [f"sqlite:///{folder / 'a.db'}", umask]
    subprocess.run([sys.executable, "-c", MAKE, *arguments], cwd=ROOT, check=True, timeout=120)
    files = {path.name: mode(path) for path in folder.iterdir()}
    assert files == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-shm": 0o600}
    assert [mode(folder), mode(folder.parent)] == [0o700, 0o700]


def test_an_operators_folder_and_file_stay_as_they_are(tmp_path):
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


def test_a_further_connection_does_not_end_the_locks_of_the_others(settings, tmp_path):
    """Or the next process to close the database would take itself for the last one that has it
    open, and delete the log under this one."""
    with create_app(Settings(database_url=settings.database_url)).app_context():
        queries.save(analysis(HAPPY))
        with db.engine.connect(), db.engine.connect():
            look = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM mark')"
            command = [sys.executable, "-c", look, str(tmp_path / "test.db")]
            subprocess.run(command, check=True, timeout=60)
            assert (tmp_path / "test.db-wal").exists()
        db.engine.dispose()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_path_is_taken_as_it_stands(tmp_path, name):
    file = tmp_path / name / f"{name}.db"
    with create_app(Settings(database_url=f"sqlite:///{file}")).app_context():
        upgrade()
        queries.save(analysis(HAPPY))
        db.engine.dispose()
    assert file.stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_path_may_be_relative_to_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with create_app(Settings(database_url="sqlite:///a?b/x.db")).app_context():
        upgrade()
        db.engine.dispose()
    assert (tmp_path / "a?b" / "x.db").exists()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_checkout_may_have_any_name(tmp_path, name):
    migrations = tmp_path / name / "migrations"
    shutil.copytree(ROOT / "migrations", migrations)
    app = create_app(Settings(database_url=f"sqlite:///{tmp_path / 'a.db'}"))
    app.extensions["migrations"] = migrations
    with app.app_context():
        upgrade()
        assert queries.revision_problem() is None
        db.engine.dispose()


def test_a_folder_that_cannot_be_made_is_a_setting_that_is_wrong(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a.db", tmp_path / ("x" * 300) / "a.db"):
        wrong = Settings(database_url=f"sqlite:///{path}")
        for start in (create_app, check_access_policy):
            with pytest.raises(SettingError, match="EMOTION_DATABASE_URL: the folder"):
                start(wrong)


def test_a_folder_of_somebody_else(tmp_path):
    need(os.geteuid() == 0 and shutil.which("runuser"), "only root can become somebody else")
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"],
        cwd=ROOT,
        env={**os.environ, "EMOTION_DATABASE_URL": "sqlite:////proc/nowhere/a.db"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "error: EMOTION_DATABASE_URL: the folder /proc/nowhere cannot be made" in done.stderr
    assert "Traceback" not in done.stderr


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
def test_what_is_no_database_is_a_setting_that_is_wrong(url):
    with pytest.raises(SettingError, match="EMOTION_DATABASE_URL: ") as raised:
        create_app(Settings(database_url=url))
    assert "a:b" not in str(raised.value)  # a password


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
def test_several_processes_can_migrate_at_the_same_time(request, tmp_path, kind):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    if kind == "postgres":
        url = request.getfixturevalue("postgres_url")
    assert upgrade_in_processes(url, 4) == [("", 0)] * 4
    with create_app(Settings(database_url=url)).app_context():
        assert queries.revision_problem() is None
        queries.save(analysis(HAPPY))
        db.engine.dispose()


def test_a_migration_that_fails_changes_nothing(tmp_path):
    """SQLite too keeps nothing of it."""
    shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    last = max((tmp_path / "migrations" / "versions").glob("0*.py"))
    last.write_text(last.read_text() + "\n\nupgrade_well = upgrade\n\n\ndef upgrade():\n"
                    "    upgrade_well()\n    raise RuntimeError('power')\n")  # fmt: skip
    app = create_app(Settings(database_url=f"sqlite:///{tmp_path / 'a.db'}"))
    app.extensions["migrations"] = tmp_path / "migrations"
    with app.app_context():
        with pytest.raises(RuntimeError, match="power"):
            upgrade()
        assert "None, not" in queries.revision_problem()
        app.extensions["migrations"] = ROOT / "migrations"
        upgrade()
        assert queries.revision_problem() is None
        db.engine.dispose()


@pytest.mark.parametrize("how", ["removed", "moved", "replaced"])
def test_a_file_that_is_removed_or_replaced_while_serving_takes_nothing_more(tmp_path, how):
    path = tmp_path / "emotion.db"
    app = create_app(Settings(database_url=f"sqlite:///{path}"))
    with app.app_context():
        upgrade()
        queries.save(analysis(HAPPY))
        if how == "removed":
            path.unlink()
        elif how == "moved":
            path.rename(tmp_path / "away.db")
        else:
            shutil.copy(path, tmp_path / "copy.db")
            (tmp_path / "copy.db").replace(path)
        with pytest.raises(StoreUnavailable) as refused:
            queries.save(analysis(HAPPY))
        assert "removed or replaced" in refused.value.for_operator


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://user:s3cr@tTAIL@127.0.0.1/x", "%40"),
        ("postgresql://user:pw@127.0.0.1/x?nonsense=TAIL", "nonsense"),
    ],
)
def test_a_mistake_in_a_url_is_named_without_its_secrets(url, says):
    with pytest.raises(SettingError) as refused:
        create_app(Settings(database_url=url))
    assert says in str(refused.value)
    assert "TAIL" not in str(refused.value)
