"""The operator's commands."""

import json
import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app import create_app
from app.settings import Settings
from app.store import queries
from app.store.migrate import upgrade
from app.vision import folders
from tests.conftest import card_document, picture
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


def test_a_model_is_installed_listed_and_offered(app, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "LOOK_SECONDS", 0)
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
    assert again.output == ("Error: there is a model 'mine' already; remove its folder first\n")


@pytest.fixture
def keys(app):
    """Runs `flask keys …` on a database at head; gives what it printed."""
    with app.app_context():
        upgrade()

    def run(*arguments):
        done = app.test_cli_runner().invoke(args=["keys", *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def test_a_key_is_made_used_listed_and_revoked(app, keys):
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


def test_a_key_without_an_end_holds_for_ever(keys):
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
def test_a_wrong_command_makes_no_key_and_says_why(app, keys, arguments):
    done = app.test_cli_runner().invoke(args=["keys", *arguments])
    assert done.exit_code in (1, 2)
    assert "Error: " in done.output
    assert keys("list") == ""


def test_without_a_database_the_commands_say_so(app):
    for arguments in (["list"], ["create", "a", "--right", "read"], ["revoke", "a"]):
        done = app.test_cli_runner().invoke(args=["keys", *arguments])
        assert done.exit_code == 1
        assert done.output == "Error: the database is away or not ready\n"


def test_retention_erases_what_is_older(make_app):
    app = make_app(retention_days=30)
    run = app.test_cli_runner()
    now = datetime.now(UTC)
    with app.app_context():
        for days in (0, 29, 31, 400):
            queries.save(replace(analysis(HAPPY), created_at=now - timedelta(days=days)))
    done = run.invoke(args=["retention", "run"])
    assert done.exit_code == 0
    assert done.output.startswith("erased 2 images from before ")
    assert len(app.test_client().get("/v1/images").json["images"]) == 2


def test_retention_removes_pictures_of_no_image(make_app, tmp_path):
    app = make_app(keep_pictures=True, pictures_dir=tmp_path / "pictures")
    with app.app_context():
        queries.save(analysis(HAPPY), picture=b"kept")
    (file,) = (tmp_path / "pictures").glob("*/*")
    lost = file.with_name(f"{file.name[:-1]}x")
    lost.write_bytes(b"lost")
    os.utime(lost, (0, 0))
    done = app.test_cli_runner().invoke(args=["retention", "run"])
    assert done.output.startswith("removed 1 pictures that belonged to no image\n")
    assert (file.exists(), lost.exists()) == (True, False)


def test_without_a_retention_nothing_is_erased(make_app):
    app = make_app()
    with app.app_context():
        queries.save(replace(analysis(HAPPY), created_at=datetime(2001, 1, 1, tzinfo=UTC)))
    done = app.test_cli_runner().invoke(args=["retention", "run"])
    assert done.output == "EMOTION_RETENTION_DAYS is 0: results are kept for ever\n"
    assert len(app.test_client().get("/v1/images").json["images"]) == 1


def test_the_tables_are_made_taken_back_and_made_again(make_app, tmp_path):
    app = make_app(database_url=f"sqlite:///{tmp_path / 'new.db'}")
    run = app.test_cli_runner().invoke
    client = app.test_client()
    for arguments, said in (
        (["upgrade"], None),
        (["downgrade", "0001"], "is at revision 0001, not "),
        (["upgrade"], None),
    ):
        assert run(args=["db", *arguments]).exit_code == 0
        ready = client.get("/readyz")
        if said:
            assert (ready.status_code, said in ready.json["detail"]) == (503, True)
        else:
            assert (ready.status_code, ready.json) == (200, {"status": "ready"})


@pytest.mark.parametrize(
    ("url", "revision", "said"),
    [
        (None, "0042", "Error: Can't locate revision identified by '0042'\n"),
        ("postgresql://127.0.0.1:1/none", "head", "Error: the database is away or not ready\n"),
    ],
)
def test_what_cannot_be_migrated_is_said_in_a_line(make_app, url, revision, said):
    app = make_app(**({"database_url": url} if url else {}))
    done = app.test_cli_runner().invoke(args=["db", "upgrade", revision])
    assert (done.exit_code, done.output) == (1, said)


def test_files_are_analysed_without_a_server(make_app, tmp_path):
    app = make_app()
    (tmp_path / "two.png").write_bytes(picture(100))
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
    assert "not a picture" in done.stderr
    assert done.stderr.endswith("Error: 1 of 2 files failed\n")
    done = run(args=["analyse", mixed[1], "--model", "no such model"])
    assert "unknown model" in done.stderr
    assert len(app.test_client().get("/v1/images").json["images"]) == 1
