"""`emotions watch`: what it prints, and the errors that end it."""

import json

import pytest
from click.testing import CliRunner
from emotions.cli import main
from emotions.watch import STATE_NAME

from tests.client.conftest import ANALYSIS, Response, problem, unknown_option
from tests.conftest import image_file

pytestmark = pytest.mark.weights


def test_watch_sends_folder_once(run, folder):
    watched = ["watch", folder, "--once", "--interval", "0.05"]
    done = run(*watched)
    assert done.exit_code == 0
    assert "a b.jpg: happiness" in done.stdout
    first, skipped, last = done.stderr.splitlines()
    assert first.startswith(f"watching {folder} and its subfolders, until all images are sent")
    assert skipped.startswith("skipping hidden files and files without one of these suffixes: ")
    assert ".heic" in skipped
    assert last == "2 sent, 0 failed"
    first, _, last = run(*watched).stderr.splitlines()
    assert first.endswith("; 2 images were sent before")
    assert last == "0 sent, 0 failed"
    (folder / "broken.jpg").write_bytes(b"no image")
    done = run(*watched)
    assert done.exit_code == 1
    assert "broken.jpg: the content is not an image" in done.stderr


def test_watch_once_exits_after_service_error(scripted, folder):
    scripted.responses = [problem(500, "internal", "it broke")]
    watched = ["watch", str(folder), "--once", "--interval", "0.05", "--workers", "1"]
    done = CliRunner().invoke(main, ["--server", scripted.url, *watched])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[2:] == [
        "it broke; retrying",
        "0 sent, 0 failed, 2 postponed",
    ]
    scripted.responses = [Response(201, ANALYSIS)]
    done = CliRunner().invoke(main, ["--server", scripted.url, *watched])
    assert (done.exit_code, done.stderr.splitlines()[2:]) == (0, ["2 sent, 0 failed"])
    assert len(set(scripted.idempotency_keys())) == 2


def test_postponed_image_does_not_delay_scans(scripted, folder, monkeypatch):
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr("emotions.commands.watching.time.sleep", sleep)
    scripted.responses = [problem(500, "internal")]
    watched = ["watch", str(folder), "--interval", "0.05", "--workers", "1"]
    CliRunner().invoke(main, ["--server", scripted.url, *watched])
    # The first scan finds two images. The next two scans fail with one image each.
    assert pauses == [0.05, 0.1, 0.2, 0.05, 0.05]


def test_watch_exits_if_key_is_rejected(scripted, folder):
    scripted.responses = [problem(401, "wrong-key", "unknown")] * 2 + [Response(201, ANALYSIS)]
    watched = ["watch", str(folder), "--once", "--interval", "0.05", "--workers", "1"]
    done = CliRunner().invoke(main, ["--server", scripted.url, *watched])
    assert (done.exit_code, "stopped: unknown (pass the API key with --key" in done.stderr) == (
        1,
        True,
    )
    assert len(scripted.requests) == 1


def test_watch_json_prints_one_object_per_image(scripted, folder):
    (folder / "a b.jpg").rename(folder / "sub" / "another.jpg")
    scripted.responses = [
        Response(201, ANALYSIS),
        problem(422, "undecodable-image", "it is damaged"),
    ]
    watched = ["watch", str(folder), "--once", "--json", "--interval", "0.05", "--workers", "1"]
    done = CliRunner().invoke(main, ["--server", scripted.url, *watched])
    assert done.exit_code == 1
    sent, refused = map(json.loads, done.stdout.splitlines())
    assert (sent["id"], sent["faces"][0]["dominant"]) == (7, "anger")
    assert refused["error"] == "it is damaged"
    assert {sent["path"], refused["path"]} == {"sub/a b.jpg", "sub/another.jpg"}
    assert done.stderr.startswith(f"watching {folder} and its subfolders")


def test_watch_reports_invalid_state_file(run, folder):
    (folder / STATE_NAME).write_bytes(b"no database" * 100)
    done = run("watch", folder, "--once")
    assert (done.exit_code, "the state file cannot be used" in done.stderr) == (1, True)


def test_watch_exits_on_invalid_option_without_giving_up_images(run_stub, scripted, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(image_file())
    watched = ["watch", tmp_path, "--once", "--interval", "0.05", "--workers", "1"]
    scripted.responses = [unknown_option("model")]
    done = run_stub(*watched)
    assert (done.exit_code, len(scripted.requests)) == (1, 1)
    assert done.stderr.splitlines()[2:] == ["0 sent, 0 failed", "stopped: unknown model"]
    scripted.responses = [Response(201, ANALYSIS)]
    assert run_stub(*watched).stderr.endswith("3 sent, 0 failed\n")
