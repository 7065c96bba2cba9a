"""The command `emotions`, with the real service and a stub server."""

import csv
import io
import json
import os
import re
import sys

import pytest
from click.testing import CliRunner
from emotions import transport
from emotions.cli import main
from emotions.watch import STATE_NAME
from PIL import Image

from app.vision.aggregators import AGGREGATORS, DEFAULT
from app.vision.detectors import DETECTORS
from app.vision.pipelines import PIPELINES
from tests.client.conftest import ANALYSIS, FACE, Response, problem
from tests.client.test_with_service import PHOTO
from tests.conftest import image_file

pytestmark = pytest.mark.weights


@pytest.fixture
def folder(tmp_path):
    """A folder with an image, a subfolder with another image, and a text file."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "a b.jpg").write_bytes(PHOTO.read_bytes())
    (tmp_path / "in" / "sub" / "a b.jpg").write_bytes(PHOTO.read_bytes())
    (tmp_path / "in" / "notes.txt").write_text("no image")
    return tmp_path / "in"


def test_analyse_prints_table_row_per_face(run):
    done = run("analyse", PHOTO, "--no-store")
    assert done.exit_code == 0
    assert "astronaut.jpg" in done.stdout
    assert "happiness" in done.stdout
    assert done.stderr == ""


def test_json_and_csv_output_is_parseable(run, folder):
    done = run("analyse", folder, "--no-store", "--format", "json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["path"] for line in lines] == [
        str(folder / "a b.jpg"),
        str(folder / "sub" / "a b.jpg"),
    ]
    assert lines[0]["faces"][0]["dominant"] == "happiness"
    assert lines[0]["id"] is None
    done = run("analyse", folder, "--no-store", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["emotion"] for row in rows] == ["happiness", "happiness"]


@pytest.mark.parametrize(
    ("threshold", "emotion"), [("0.69", "anger"), ("0.7", "anger"), ("0.71", "")]
)
def test_threshold_is_compared_with_rounded_probability(scripted, threshold, emotion):
    face = {**FACE, "emotions": {"anger": 0.696, "neutral": 0.304}}
    scripted.responses = [Response(201, {**ANALYSIS, "faces": [face]})]
    arguments = ["analyse", str(PHOTO), "--threshold", threshold, "--format", "csv"]
    done = CliRunner().invoke(main, ["--server", scripted.url, *arguments])
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert (row["emotion"], row["probability"]) == (emotion, "0.70")


def test_csv_escapes_formula_in_file_name(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "=1+1.png").write_bytes(image_file())
    done = run("analyse", "=1+1.png", "--no-store", "--format", "csv")
    assert done.stdout.splitlines()[1].startswith("'=1+1.png,")


def test_analyse_lists_failed_images_at_the_end(run, folder):
    (folder / "broken.jpg").write_bytes(PHOTO.read_bytes()[:-5000])
    done = run("analyse", folder, folder / "missing.jpg", "--no-store", "--format", "json")
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 2
    skipped, first, second, last = done.stderr.splitlines()
    assert skipped == "skipped 1 file that is not an image: 1 .txt"
    assert first.startswith(str(folder / "broken.jpg"))
    assert "No such file" in second
    assert last == "2 of 4 images failed"


def test_save_annotated_keeps_folder_structure(run, folder, tmp_path):
    done = run("analyse", folder, "--save-annotated", tmp_path / "out", "--no-store")
    assert done.exit_code == 0
    out = tmp_path / "out"
    copies = sorted(str(path.relative_to(out)) for path in out.rglob("*.png"))
    assert copies == ["a b.jpg.png", "sub/a b.jpg.png"]
    with Image.open(tmp_path / "out" / "a b.jpg.png") as drawn, Image.open(PHOTO) as photo:
        assert drawn.size == photo.size


def test_history_summary_and_delete_work_on_stored_image(run):
    analysed = run("analyse", PHOTO, "--format", "json")
    image_id = json.loads(analysed.stdout)["id"]
    listed = run("history", "--file-name", "astronaut.jpg", "--limit", 1, "--format", "json")
    assert json.loads(listed.stdout)["id"] == image_id
    counted = run("summary", "--by", "model", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(counted.stdout))
    assert int(row["happiness"]) >= 1
    assert run("delete", image_id).stdout == f"deleted {image_id}\n"
    done = run("delete", image_id)
    assert (done.exit_code, f"no image {image_id}" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["analyse"], 2, "Missing argument"),
        (["analyse", str(PHOTO), "--threshold", "2"], 2, "not in the range"),
        (["analyse", str(PHOTO), "--model", "none"], 1, "unknown model"),
        (["history", "--since", "yesterday"], 1, "since"),
        (["summary", "--emotion", "x", "--min-probability", "9"], 2, "not in the range"),
        (["delete", "0"], 2, "not in the range"),
        (["delete"], 2, "at least one filter"),
        (["delete", "7", "--emotion", "anger"], 2, "at least one filter"),
        (["delete", "--emotion", "anger"], 2, "pass --yes"),
        (["--key", "a\nb", "models"], 2, "Invalid value for --key"),
        (["--timeout", "0", "models"], 2, "not in the range"),
        (["watch", "no such folder"], 2, "does not exist"),
    ],
)
def test_invalid_command_line_prints_message(run, arguments, status, message):
    done = run(*arguments)
    assert done.exit_code == status
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_server_without_scheme_is_rejected():
    done = CliRunner().invoke(main, ["--server", "localhost:5000", "summary"])
    assert (done.exit_code, "must begin with http://" in done.stderr) == (2, True)


def test_analyse_stops_if_service_is_unreachable(tmp_path, monkeypatch):
    monkeypatch.setattr(transport, "FIRST_PAUSE", 0.001)
    for number in range(40):
        (tmp_path / f"{number}.png").write_bytes(image_file())
    done = CliRunner().invoke(main, ["--server", "http://127.0.0.1:1", "analyse", str(tmp_path)])
    assert done.exit_code == 1
    assert done.stderr.endswith("1 of 40 images failed, 39 were skipped\n")
    assert "cannot be reached" in done.stderr


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


@pytest.mark.parametrize("command", [["analyse", str(PHOTO)], ["mood", str(PHOTO)], ["history"],
                                     ["summary"], ["delete", "7"], ["models"]])  # fmt: skip
@pytest.mark.parametrize("name", ["missing-key", "wrong-key"])
def test_message_of_rejected_key_names_key_option(scripted, command, name):
    scripted.responses = [problem(401, name, "the key is not valid")]
    done = CliRunner().invoke(main, ["--server", scripted.url, *command])
    assert done.exit_code == 1
    expected = "the key is not valid (pass the API key with --key or in the variable EMOTIONS_KEY)"
    assert expected in done.stderr
    assert len(scripted.requests) == 1


def test_key_is_read_from_environment_variable(scripted):
    scripted.responses = [Response(200, {"models": []})]
    environment = {"EMOTIONS_SERVER": scripted.url, "EMOTIONS_KEY": "emo_key"}
    assert CliRunner().invoke(main, ["models"], env=environment).exit_code == 0
    assert scripted.requests[0].headers["Authorization"] == "Bearer emo_key"


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


# ---------------------------------------------------------------- folders

NEW_KINDS = ["a.heic", "b.HEIF", "c.avif", "d.hif"]


def test_folder_images_are_sent_and_other_files_are_counted(scripted, tmp_path):
    others = ["notes.txt", "more.TXT", "film.mp4", "Makefile", STATE_NAME, f"{STATE_NAME}-wal"]
    for name in (*NEW_KINDS, *others):
        (tmp_path / name).write_bytes(image_file())
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    arguments = ["analyse", str(tmp_path), "--format", "json"]
    done = CliRunner().invoke(main, ["--server", scripted.url, *arguments])
    assert done.exit_code == 0
    paths = [json.loads(line)["path"] for line in done.stdout.splitlines()]
    assert paths == [str(tmp_path / name) for name in NEW_KINDS]
    total, _, kinds = done.stderr.strip().partition(": ")
    assert total == "skipped 5 files that are not images"
    assert kinds.startswith("2 .txt, 1 ")
    assert set(kinds.split(", ")) == {
        "2 .txt", "1 .mp4", "1 without suffix", "1 not a regular file",
    }  # fmt: skip


def test_named_file_is_sent_with_any_suffix(scripted, tmp_path):
    (tmp_path / "photo.raw").write_bytes(image_file())
    arguments = ["analyse", str(tmp_path / "photo.raw"), "--format", "json"]
    done = CliRunner().invoke(main, ["--server", scripted.url, *arguments])
    assert (done.exit_code, done.stderr, len(scripted.requests)) == (0, "", 1)


@pytest.mark.parametrize("command", ["analyse", "mood"])
def test_folder_without_images_is_an_error(scripted, tmp_path, command):
    for number in range(12):
        (tmp_path / f"file.{number}").write_text("")
    done = CliRunner().invoke(main, ["--server", scripted.url, command, str(tmp_path)])
    assert done.exit_code == 1
    first, last = done.stderr.splitlines()
    assert first.startswith("skipped 12 files that are not images: 1 .")
    assert first.endswith("and 4 other file types")
    assert last == "no images found"


def test_unreadable_folder_is_reported(scripted, tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(image_file())
    walk = os.walk

    def refuse(folder, onerror):
        onerror(PermissionError(13, "Permission denied", str(tmp_path / "locked")))
        return walk(folder)

    monkeypatch.setattr("emotions.commands.folders.os.walk", refuse)
    done = CliRunner().invoke(main, ["--server", scripted.url, "analyse", str(tmp_path)])
    assert done.exit_code == 1
    assert f"{tmp_path / 'locked'}: " in done.stderr
    assert "Permission denied" in done.stderr
    assert done.stderr.endswith("0 of 1 images failed, 1 folders cannot be read\n")


def test_mood_prints_mood_per_image(run, folder):
    done = run("mood", folder, "--by", "vote", "--no-store", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["mood"], row["agreement"], row["faces"]) for row in rows] == [
        ("happiness", "1.00", "1")
    ] * 2
    assert json.loads(run("mood", PHOTO, "--format", "json").stdout)["aggregator"] == DEFAULT
    done = run("mood", PHOTO, "--by", "none")
    assert done.exit_code == 1
    assert "most_negative" in done.stderr  # the message lists the known aggregators


def test_mood_uses_default_aggregator_of_service(scripted):
    listed = [
        {"name": name, "default": name == "b", "title": name, "description": f"{name}."}
        for name in ("a", "b")
    ]
    image = {**ANALYSIS, "mood": None}
    scripted.responses = [Response(200, {"aggregators": listed}), Response(201, image)]
    CliRunner().invoke(main, ["--server", scripted.url, "mood", str(PHOTO)])
    listing, posted = scripted.requests
    assert listing.path == "/v1/aggregators"
    assert b'name="mood"\r\n\r\nb\r\n' in posted.body


def test_aggregators_lists_names_and_default(run):
    rows = list(csv.DictReader(io.StringIO(run("aggregators", "--format", "csv").stdout)))
    assert [row["name"] for row in rows] == list(AGGREGATORS)
    assert [row["name"] for row in rows if row["state"] == "default"] == [DEFAULT]
    assert all(row["description"] for row in rows)


@pytest.mark.parametrize("command", ["analyse", "mood", "watch", "live"])
def test_help_contains_no_pipeline_detector_or_aggregator_names(run, command):
    words = set(re.findall(r"\w+", run(command, "--help").stdout))
    assert not words & {*PIPELINES, *DETECTORS} - {"none"}
    assert not words & {"quality", "vote", "logpool", "trimmed", "most_negative"}


def test_all_independent_emotions_above_threshold_are_printed(scripted):
    face = {**FACE, "exclusive": False, "emotions": {"anger": 0.7, "joy": 0.6, "awe": 0.2}}
    scripted.responses = [Response(201, {**ANALYSIS, "faces": [face]})]
    done = CliRunner().invoke(
        main, ["--server", scripted.url, "analyse", str(PHOTO), "--format", "csv"]
    )
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert row["emotion"] == "anger, joy"
    done = CliRunner().invoke(
        main, ["--server", scripted.url, "analyse", str(PHOTO), "--format", "json"]
    )
    document = json.loads(done.stdout)
    assert document["faces"][0]["exclusive"] is False
    assert not {"persons", "job", "position_ms"} & document.keys()


def test_watch_reports_invalid_state_file(run, folder):
    (folder / STATE_NAME).write_bytes(b"no database" * 100)
    done = run("watch", folder, "--once")
    assert (done.exit_code, "the state file cannot be used" in done.stderr) == (1, True)


def test_live_names_missing_opencv_and_camera(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    done = run("live")
    assert done.exit_code == 1
    assert "pip install opencv-python" in done.stderr
    monkeypatch.delitem(sys.modules, "cv2")
    done = run("live", "--camera", 99)
    assert "camera 99 cannot be opened" in done.stderr


# ---------------------------------------------------------------- messages


@pytest.fixture
def run_stub(scripted):
    """Run the command `emotions` with the stub server."""
    return lambda *arguments: CliRunner().invoke(
        main, ["--server", scripted.url, *map(str, arguments)]
    )


def test_hidden_files_and_folders_are_skipped_and_counted(run_stub, scripted, tmp_path):
    (tmp_path / ".git").mkdir()
    for name in ("a.png", ".b.png", ".notes", ".git/c.png", f"{STATE_NAME}-wal"):
        (tmp_path / name).write_bytes(image_file())
    done = run_stub("analyse", tmp_path, "--format", "json")
    assert (done.exit_code, len(scripted.requests)) == (0, 1)
    assert done.stderr == "skipped 3 hidden files or folders\n"
    done = run_stub("analyse", tmp_path / ".b.png", tmp_path / ".git", "--format", "json")
    assert (done.exit_code, done.stderr, len(scripted.requests)) == (0, "", 3)


def wrong(field, name="unknown-model"):
    response = problem(422, name, f"unknown {field}")
    response.body["errors"] = [{"field": field, "message": "unknown"}]
    return response


@pytest.mark.parametrize("field", ["model", "detector", "pipeline", "threshold", "mood"])
def test_invalid_option_is_reported_once(run_stub, scripted, tmp_path, field):
    for number in range(30):
        (tmp_path / f"{number}.png").write_bytes(image_file())
    scripted.responses = [wrong(field)]
    done = run_stub("analyse", tmp_path)
    assert done.exit_code == 1
    assert done.stderr.count(f"unknown {field}") == 1
    assert done.stderr.endswith("1 of 30 images failed, 29 were skipped\n")


@pytest.mark.parametrize(("field", "name"), [("image", "about"), ("detector", "too-much-work")])
def test_image_specific_error_does_not_stop_other_images(run_stub, scripted, tmp_path, field, name):
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(image_file())
    scripted.responses = [wrong(field, name)]
    assert run_stub("analyse", tmp_path).stderr.endswith("5 of 5 images failed\n")


def test_watch_exits_on_invalid_option_without_giving_up_images(run_stub, scripted, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(image_file())
    watched = ["watch", tmp_path, "--once", "--interval", "0.05", "--workers", "1"]
    scripted.responses = [wrong("model")]
    done = run_stub(*watched)
    assert (done.exit_code, len(scripted.requests)) == (1, 1)
    assert done.stderr.splitlines()[2:] == ["0 sent, 0 failed", "stopped: unknown model"]
    scripted.responses = [Response(201, ANALYSIS)]
    assert run_stub(*watched).stderr.endswith("3 sent, 0 failed\n")


@pytest.mark.parametrize("form", ["table", "csv", "json"])
@pytest.mark.parametrize("response", [problem(403, "missing-right"), Response(200, {"images": 1})])
def test_history_error_prints_no_header(run_stub, scripted, form, response):
    scripted.responses = [response]
    done = run_stub("history", "--format", form)
    assert (done.exit_code, done.stdout) == (1, "")


@pytest.mark.parametrize("command", ["history", "summary", "models"])
def test_message_of_unknown_path_names_server_option(run, service, command):
    done = CliRunner().invoke(main, ["--server", f"{service}/wrong", command])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "--server" in done.stderr
    assert "EMOTIONS_SERVER" in done.stderr


def test_message_of_unknown_image_does_not_name_server_option(run):
    assert "--server" not in run("delete", 10**9).stderr


def test_message_of_other_server_names_server_option(run_stub, scripted):
    for response in (Response(404, b"<h1>no"), Response(301, b"", {"Location": "http://x/"})):
        scripted.responses = [response]
        assert "--server" in run_stub("models").stderr


def test_message_of_credentials_in_address_names_key_option():
    done = CliRunner().invoke(main, ["--server", "http://me:secret@127.0.0.1", "models"])
    assert done.exit_code == 2
    assert "pass the API key as --key" in done.stderr
    for word in ("api_key", "base_url", "secret"):
        assert word not in done.output
