"""The operator's commands."""

import json
import logging
import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from app import create_app
from app.settings import Settings
from app.store import queries
from app.store.idempotency import IdempotentRequest
from app.store.migrate import upgrade
from app.store.tables import FileRemovalRow, IdempotencyRow, db
from app.vision import folders
from tests.conftest import card_document, image_file
from tests.graphs import write_graph
from tests.store.test_queries import HAPPY, analysis


@pytest.fixture
def app(tmp_path):
    return create_app(
        Settings(
            database_url=f"sqlite:///{tmp_path / 'a.db'}",
            models_dir=tmp_path / "models",
            model="mine",
        )
    )


def test_install_makes_a_model_available_and_rejects_a_second_install(app, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "SCAN_SECONDS", 0)
    weights = write_graph(tmp_path / "some.onnx")
    (tmp_path / "card.json").write_text(json.dumps(card_document("mine") | {"weights": {}}))
    run = app.test_cli_runner()
    arguments = ["models", "install", str(weights), "--card", str(tmp_path / "card.json")]
    done = run.invoke(args=arguments)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("installed mine 0.1, sha256 ")
    (listed,) = app.test_client().get("/v1/models").json["models"]
    assert listed["ready"]
    assert listed["name"] == "mine"
    (tmp_path / "models" / "broken").mkdir()
    (tmp_path / "models" / "broken" / "card.json").write_text("{}")
    lines = run.invoke(args=["models", "list"]).output.splitlines()
    assert lines[0].startswith("broken\tbroken: the card is not valid")
    assert lines[1] == "mine\tready, classifier, 8 emotions, the default"
    again = run.invoke(args=arguments)
    assert again.exit_code == 1
    assert again.output == (
        "Error: a model 'mine' is already installed: remove the folder of the model first\n"
    )


@pytest.fixture
def keys(app):
    """A function that runs `flask keys …` on a database at head and returns the output."""
    with app.app_context():
        upgrade()

    def run(*arguments):
        done = app.test_cli_runner().invoke(args=["keys", *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def test_keys_can_be_created_used_listed_and_revoked(app, keys):
    key = keys("create", "my phone", "--right", "read", "--right", "analyse", "--days", "2").strip()
    assert re.fullmatch(r"emo_[0-9a-f]{12}_[\w-]{43}", key)
    headers = {"Authorization": f"Bearer {key}"}
    assert app.test_client().get("/v1/images", headers=headers).status_code == 200
    key_id = key.split("_")[1]
    until = r"until \d{4}-\d\d-\d\d"
    assert re.fullmatch(f"{key_id}\tanalyse read\t{until}\tmy phone\n", keys("list"))
    assert keys("revoke", key_id) == f"revoked {key_id}\n"
    assert keys("list") == f"{key_id}\tanalyse read\trevoked\tmy phone\n"
    assert app.test_client().get("/v1/images", headers=headers).status_code == 401


def test_key_without_days_never_expires(keys):
    keys("create", "a", "--right", "admin")
    assert keys("list").endswith("\tadmin\tfor ever\ta\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "a"],
        ["create", "a", "--right", "fly"],
        ["create", "", "--right", "read"],
        ["create", "a\nb", "--right", "read"],
        ["create", "a" * 101, "--right", "read"],
        ["create", "a", "--right", "read", "--days", "0"],
        ["revoke", "nope"],
    ],
)
def test_invalid_keys_command_prints_an_error_and_creates_no_key(app, keys, arguments):
    done = app.test_cli_runner().invoke(args=["keys", *arguments])
    assert done.exit_code in (1, 2)
    assert "Error: " in done.output
    assert keys("list") == ""


def test_keys_commands_report_a_missing_database(app):
    for arguments in (["list"], ["create", "a", "--right", "read"], ["revoke", "a"]):
        done = app.test_cli_runner().invoke(args=["keys", *arguments])
        assert done.exit_code == 1
        assert done.output == (
            "Error: tables or columns are missing in the database: run `flask --app wsgi db "
            "upgrade` (the driver says: no such table: keys)\n"
        )


def test_retention_erases_images_older_than_the_limit(make_app):
    app = make_app(retention_days=30)
    run = app.test_cli_runner()
    now = datetime.now(UTC)
    with app.app_context():
        for days in (0, 29, 31, 400):
            queries.save(replace(analysis(HAPPY), created_at=now - timedelta(days=days)))
    done = run.invoke(args=["retention", "run"])
    assert done.exit_code == 0
    assert done.stdout.startswith("erased 2 images from before ")
    assert len(app.test_client().get("/v1/images").json["images"]) == 2


@pytest.fixture
def folder_with_strays(make_app, tmp_path):
    """(settings, folder). The folder contains a stored image, one file without a result that this
    database could have written, and files of the operator."""
    folder = tmp_path / "pictures"
    changes = {"keep_pictures": True, "pictures_dir": folder}
    with make_app(**changes).app_context():
        queries.save(analysis(HAPPY), image_file=b"kept")
    (file,) = folder.glob("*/*")
    (folder / "IM").mkdir()
    first = "0" if file.name[0] != "0" else "1"
    for path in (
        file.with_name(file.name[:2] + "0" * 18 + file.name[20:]),
        file.with_name(f"{file.name[:-1]}x"),
        file.with_name(file.name[:2] + "0" * 30),
        folder / "IM" / "IMG_0001.jpg",
        folder / (first * 2 + file.name[2:]),
    ):
        path.write_bytes(b"mine")
        os.utime(path, (0, 0))
    return changes, folder


def all_file_names(folder):
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("keep_pictures", "arguments", "removed"),
    [(True, [], 1), (False, [], 0), (False, ["--kept-images"], 1), (True, ["--kept-images"], 1)],
)
def test_retention_removes_strays_and_leaves_the_operators_files(
    make_app, folder_with_strays, keep_pictures, arguments, removed
):
    changes, folder = folder_with_strays
    before = all_file_names(folder)
    app = make_app(**changes | {"keep_pictures": keep_pictures})
    done = app.test_cli_runner().invoke(args=["retention", "run", *arguments])
    assert done.exit_code == 0
    message = f"removed {removed} stored image files without a result\n"
    assert done.output.startswith(message) is bool(removed)
    removed_names = before - all_file_names(folder)
    assert len(removed_names) == removed
    assert all(name[2:20] == "0" * 18 for name in removed_names)


def test_retention_removes_due_files_and_old_records_even_if_results_are_never_erased(make_app):
    app = make_app()
    with app.app_context():
        records = [IdempotentRequest("", key, 0, "f" * 64) for key in ("old", "young")]
        for record in records:
            queries.save(analysis(HAPPY), record)
        day = timedelta(days=1, seconds=1)
        aged = update(IdempotencyRow).where(IdempotencyRow.key == "old")
        db.session.execute(aged.values(created_at=datetime.now(UTC) - day))
        db.session.add(FileRemovalRow(name="0" * 32, image_id=7, due_at=datetime.now(UTC) + day))
        db.session.commit()
    done = app.test_cli_runner().invoke(args=["retention", "run"])
    assert done.output.startswith("removed 1 stored image files")
    with app.app_context():
        assert db.session.scalars(select(IdempotencyRow.key)).all() == ["young"]
        assert db.session.scalars(select(FileRemovalRow.name)).all() == []


def test_retention_erases_nothing_if_the_limit_is_0(make_app):
    app = make_app()
    with app.app_context():
        queries.save(replace(analysis(HAPPY), created_at=datetime(2001, 1, 1, tzinfo=UTC)))
    done = app.test_cli_runner().invoke(args=["retention", "run"])
    assert done.output == "EMOTION_RETENTION_DAYS is 0: results are never erased\n"
    assert len(app.test_client().get("/v1/images").json["images"]) == 1


def test_db_commands_upgrade_downgrade_and_upgrade_again(make_app, tmp_path):
    app = make_app(database_url=f"sqlite:///{tmp_path / 'new.db'}")
    run = app.test_cli_runner().invoke
    client = app.test_client()
    for arguments, problem in (
        (["upgrade"], None),
        (["downgrade", "0001"], "is at revision 0001, not "),
        (["upgrade"], None),
    ):
        assert run(args=["db", *arguments]).exit_code == 0
        ready = client.get("/readyz")
        if problem:
            assert (ready.status_code, problem in ready.json["detail"]) == (503, True)
        else:
            assert (ready.status_code, ready.json) == (200, {"status": "ready"})


@pytest.mark.parametrize(
    ("url", "revision", "message"),
    [
        (None, "0042", "Error: Can't locate revision identified by '0042'\n"),
        (
            "postgresql://127.0.0.1:1/none",
            "head",
            "Error: the database server cannot be reached: check that it runs, and that host and "
            "port in EMOTION_DATABASE_URL are correct (the driver says: connection failed: ",
        ),
    ],
)
def test_failed_migration_prints_one_line(make_app, url, revision, message):
    app = make_app(**({"database_url": url} if url else {}))
    done = app.test_cli_runner().invoke(args=["db", "upgrade", revision])
    assert done.exit_code == 1
    assert done.output.startswith(message)
    assert done.output.count("\n") == 1


def test_analyse_command_analyses_files_without_a_server(make_app, tmp_path):
    app = make_app()
    (tmp_path / "two.png").write_bytes(image_file(100))
    (tmp_path / "none.jpg").write_bytes(b"no picture")
    run = app.test_cli_runner().invoke
    done = run(args=["analyse", str(tmp_path / "two.png"), "--threshold", "0.2"])
    assert done.exit_code == 0
    found = json.loads(done.output)
    assert (found["file"], found["id"], len(found["faces"])) == ("two.png", 1, 2)
    assert found["faces"][0]["box_xyxy"] == [5, 5, 45, 45]
    assert list(found["faces"][0]["emotions"]) == ["happiness"]
    stored = app.test_client().get("/v1/images").json["images"]
    assert [image["file_name"] for image in stored] == ["two.png"]

    mixed = [str(tmp_path / name) for name in ("none.jpg", "two.png")]
    done = run(args=["analyse", *mixed, "--no-store"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["id"] is None
    assert "not an image" in done.stderr
    assert done.stderr.endswith("Error: 1 of 2 files failed\n")
    done = run(args=["analyse", mixed[1], "--model", "no such model"])
    assert "unknown model" in done.stderr
    assert len(app.test_client().get("/v1/images").json["images"]) == 1


def test_keys_commands_log_their_events_to_standard_error(make_app):
    run = make_app(retention_days=1).test_cli_runner().invoke
    created = run(args=["keys", "create", "phone", "--right", "read"])
    key_id = created.stdout.split("_")[1]
    revoked = run(args=["keys", "revoke", key_id])
    for done, event in ((created, "key_created"), (revoked, "key_revoked")):
        (line,) = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
        assert (line["event"], line["key_id"], line["level"]) == (event, key_id, "INFO")
        assert created.stdout.split("_", 2)[2].strip() not in done.stderr
    quiet = make_app(log_level="warning").test_cli_runner().invoke
    assert "{" not in quiet(args=["keys", "create", "phone", "--right", "read"]).stderr
    assert logging.getLogger("app").handlers == []
