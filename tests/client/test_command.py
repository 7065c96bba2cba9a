"""The command `emotions`, at the real service."""

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
from tests.client.conftest import FACE, IMAGE, Answer, problem
from tests.client.test_with_service import PHOTO
from tests.conftest import picture

pytestmark = pytest.mark.weights


@pytest.fixture
def folder(tmp_path):
    """Two pictures, one in a folder within, a file that is none and one that is broken."""
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "a b.jpg").write_bytes(PHOTO.read_bytes())
    (tmp_path / "in" / "sub" / "a b.jpg").write_bytes(PHOTO.read_bytes())
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    return tmp_path / "in"


def test_a_table_names_each_face(run):
    done = run("analyse", PHOTO, "--no-store")
    assert done.exit_code == 0
    assert "astronaut.jpg" in done.stdout
    assert "happiness" in done.stdout
    assert done.stderr == ""


def test_json_and_csv_can_be_read_again(run, folder):
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
def test_a_threshold_is_compared_with_the_rounded_probability(scripted, threshold, emotion):
    face = {**FACE, "emotions": {"anger": 0.696, "neutral": 0.304}}
    scripted.answers = [Answer(201, {**IMAGE, "faces": [face]})]
    asked = ["analyse", str(PHOTO), "--threshold", threshold, "--format", "csv"]
    done = CliRunner().invoke(main, ["--server", scripted.url, *asked])
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert (row["emotion"], row["probability"]) == (emotion, "0.70")


def test_a_file_name_is_no_formula(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "=1+1.png").write_bytes(picture())
    done = run("analyse", "=1+1.png", "--no-store", "--format", "csv")
    assert done.stdout.splitlines()[1].startswith("'=1+1.png,")


def test_what_fails_is_named_at_the_end_and_stops_nothing(run, folder):
    (folder / "broken.jpg").write_bytes(PHOTO.read_bytes()[:-5000])
    done = run("analyse", folder, folder / "missing.jpg", "--no-store", "--format", "json")
    assert done.exit_code == 1
    assert len(done.stdout.splitlines()) == 2
    skipped, first, second, last = done.stderr.splitlines()
    assert skipped == "skipped 1 file that is not an image: 1 .txt"
    assert first.startswith(str(folder / "broken.jpg"))
    assert "No such file" in second
    assert last == "2 of 4 images failed"


def test_annotated_pictures_lie_as_the_pictures_do(run, folder, tmp_path):
    done = run("analyse", folder, "--save-annotated", tmp_path / "out", "--no-store")
    assert done.exit_code == 0
    made = sorted(str(it.relative_to(tmp_path / "out")) for it in (tmp_path / "out").rglob("*.png"))
    assert made == ["a b.jpg.png", "sub/a b.jpg.png"]
    with Image.open(tmp_path / "out" / "a b.jpg.png") as drawn, Image.open(PHOTO) as photo:
        assert drawn.size == photo.size


def test_stored_results_are_listed_summed_up_and_erased(run):
    made = run("analyse", PHOTO, "--format", "json")
    number = json.loads(made.stdout)["id"]
    listed = run("history", "--file-name", "astronaut.jpg", "--limit", 1, "--format", "json")
    assert json.loads(listed.stdout)["id"] == number
    counted = run("summary", "--by", "model", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(counted.stdout))
    assert int(row["happiness"]) >= 1
    assert run("delete", number).stdout == f"erased {number}\n"
    done = run("delete", number)
    assert (done.exit_code, f"no image {number}" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["analyse"], 2, "Missing argument"),
        (["analyse", str(PHOTO), "--threshold", "2"], 2, "not in the range"),
        (["analyse", str(PHOTO), "--model", "none"], 1, "unknown model"),
        (["history", "--since", "yesterday"], 1, "since"),
        (["summary", "--emotion", "x", "--min-probability", "9"], 2, "not in the range"),
        (["delete", "0"], 2, "not in the range"),
        (["delete"], 2, "at least one filter"),
        (["delete", "7", "--emotion", "anger"], 2, "at least one filter"),
        (["delete", "--emotion", "anger"], 2, "needs --yes"),
        (["--key", "a\nb", "models"], 2, "Invalid value for --key"),
        (["--timeout", "0", "models"], 2, "not in the range"),
        (["watch", "no such folder"], 2, "does not exist"),
    ],
)
def test_mistakes_are_said_in_a_sentence(run, arguments, status, said):
    done = run(*arguments)
    assert done.exit_code == status
    assert said in done.stderr
    assert "Traceback" not in done.output


def test_without_a_service_it_says_so():
    done = CliRunner().invoke(main, ["--server", "localhost:5000", "summary"])
    assert (done.exit_code, "must begin with http://" in done.stderr) == (2, True)


def test_where_nobody_answers_not_all_are_tried(tmp_path, monkeypatch):
    monkeypatch.setattr(transport, "FIRST_PAUSE", 0.001)
    for number in range(40):
        (tmp_path / f"{number}.png").write_bytes(picture())
    done = CliRunner().invoke(main, ["--server", "http://127.0.0.1:1", "analyse", str(tmp_path)])
    assert done.exit_code == 1
    assert done.stderr.endswith("1 of 40 images failed, 39 were not tried\n")
    assert "does not answer" in done.stderr


def test_a_folder_is_pushed_once(run, folder):
    watched = ["watch", folder, "--once", "--interval", "0.05"]
    done = run(*watched)
    assert done.exit_code == 0
    assert "a b.jpg: happiness" in done.stdout
    first, skipped, last = done.stderr.splitlines()
    assert first.startswith(f"watching {folder} and its subfolders, until all images are sent")
    assert skipped.startswith("hidden files and files without one of these suffixes are skipped: ")
    assert ".heic" in skipped
    assert last == "2 sent, 0 given up"
    first, _, last = run(*watched).stderr.splitlines()
    assert first.endswith("; 2 images sent before")
    assert last == "0 sent, 0 given up"
    (folder / "broken.jpg").write_bytes(b"no picture")
    done = run(*watched)
    assert done.exit_code == 1
    assert "broken.jpg: the content is not an image" in done.stderr


def test_once_ends_though_the_service_fails_with_a_picture(scripted, folder):
    scripted.answers = [problem(500, "internal", "it broke")]
    watched = ["watch", str(folder), "--once", "--interval", "0.05", "--workers", "1"]
    done = CliRunner().invoke(main, ["--server", scripted.url, *watched])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[2:] == [
        "it broke; trying again",
        "0 sent, 0 given up, 2 left for later",
    ]
    scripted.answers = [Answer(201, IMAGE)]
    done = CliRunner().invoke(main, ["--server", scripted.url, *watched])
    assert (done.exit_code, done.stderr.splitlines()[2:]) == (0, ["2 sent, 0 given up"])
    assert len(set(scripted.keys())) == 2


def test_a_picture_for_later_does_not_slow_the_looks(scripted, folder, monkeypatch):
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr("emotions.commands.watching.time.sleep", sleep)
    scripted.answers = [problem(500, "internal")]
    watched = ["watch", str(folder), "--interval", "0.05", "--workers", "1"]
    CliRunner().invoke(main, ["--server", scripted.url, *watched])
    # The first look sees two pictures, the next two fail with one each.
    assert pauses == [0.05, 0.1, 0.2, 0.05, 0.05]


def test_watching_ends_where_the_key_does_not_do(scripted, folder):
    scripted.answers = [problem(401, "wrong-key", "unknown")] * 2 + [Answer(201, IMAGE)]
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
def test_a_rejected_key_is_said_with_the_way_to_pass_one(scripted, command, name):
    scripted.answers = [problem(401, name, "the key is not valid")]
    done = CliRunner().invoke(main, ["--server", scripted.url, *command])
    assert done.exit_code == 1
    expected = "the key is not valid (pass the API key with --key or in the variable EMOTIONS_KEY)"
    assert expected in done.stderr
    assert len(scripted.requests) == 1


def test_the_key_is_taken_from_the_variable(scripted):
    scripted.answers = [Answer(200, {"models": []})]
    environment = {"EMOTIONS_SERVER": scripted.url, "EMOTIONS_KEY": "emo_key"}
    assert CliRunner().invoke(main, ["models"], env=environment).exit_code == 0
    assert scripted.requests[0].headers["Authorization"] == "Bearer emo_key"


def test_watching_prints_an_object_for_each_image(scripted, folder):
    (folder / "a b.jpg").rename(folder / "sub" / "another.jpg")
    scripted.answers = [Answer(201, IMAGE), problem(422, "undecodable-image", "it is damaged")]
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


def test_every_kind_of_image_is_sent_and_other_files_are_counted(scripted, tmp_path):
    others = ["notes.txt", "more.TXT", "film.mp4", "Makefile", STATE_NAME, f"{STATE_NAME}-wal"]
    for name in (*NEW_KINDS, *others):
        (tmp_path / name).write_bytes(picture())
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    asked = ["analyse", str(tmp_path), "--format", "json"]
    done = CliRunner().invoke(main, ["--server", scripted.url, *asked])
    assert done.exit_code == 0
    paths = [json.loads(line)["path"] for line in done.stdout.splitlines()]
    assert paths == [str(tmp_path / name) for name in NEW_KINDS]
    total, _, kinds = done.stderr.strip().partition(": ")
    assert total == "skipped 5 files that are not images"
    assert kinds.startswith("2 .txt, 1 ")
    assert set(kinds.split(", ")) == {
        "2 .txt", "1 .mp4", "1 without suffix", "1 not a regular file",
    }  # fmt: skip


def test_a_file_that_is_named_is_sent_whatever_its_suffix(scripted, tmp_path):
    (tmp_path / "photo.raw").write_bytes(picture())
    asked = ["analyse", str(tmp_path / "photo.raw"), "--format", "json"]
    done = CliRunner().invoke(main, ["--server", scripted.url, *asked])
    assert (done.exit_code, done.stderr, len(scripted.requests)) == (0, "", 1)


@pytest.mark.parametrize("command", ["analyse", "mood"])
def test_a_folder_without_images_is_an_error(scripted, tmp_path, command):
    for number in range(12):
        (tmp_path / f"file.{number}").write_text("")
    done = CliRunner().invoke(main, ["--server", scripted.url, command, str(tmp_path)])
    assert done.exit_code == 1
    first, last = done.stderr.splitlines()
    assert first.startswith("skipped 12 files that are not images: 1 .")
    assert first.endswith("and 4 other kinds")
    assert last == "no images found"


def test_a_folder_that_cannot_be_read_is_named(scripted, tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(picture())
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


def test_the_mood_of_a_group(run, folder):
    done = run("mood", folder, "--by", "vote", "--no-store", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["mood"], row["agreement"], row["faces"]) for row in rows] == [
        ("happiness", "1.00", "1")
    ] * 2
    assert json.loads(run("mood", PHOTO, "--format", "json").stdout)["aggregator"] == DEFAULT
    done = run("mood", PHOTO, "--by", "none")
    assert done.exit_code == 1
    assert "most_negative" in done.stderr  # the known ones are listed


def test_the_aggregator_of_a_mood_is_the_services_default(scripted):
    listed = [
        {"name": name, "default": name == "b", "title": name, "description": f"{name}."}
        for name in ("a", "b")
    ]
    image = {**IMAGE, "mood": None}
    scripted.answers = [Answer(200, {"aggregators": listed}), Answer(201, image)]
    CliRunner().invoke(main, ["--server", scripted.url, "mood", str(PHOTO)])
    asked, posted = scripted.requests
    assert asked.path == "/v1/aggregators"
    assert b'name="mood"\r\n\r\nb\r\n' in posted.body


def test_the_service_lists_its_aggregators(run):
    rows = list(csv.DictReader(io.StringIO(run("aggregators", "--format", "csv").stdout)))
    assert [row["name"] for row in rows] == list(AGGREGATORS)
    assert [row["name"] for row in rows if row["state"] == "default"] == [DEFAULT]
    assert all(row["description"] for row in rows)


@pytest.mark.parametrize("command", ["analyse", "mood", "watch", "live"])
def test_help_names_no_pipeline_detector_or_aggregator(run, command):
    words = set(re.findall(r"\w+", run(command, "--help").stdout))
    assert not words & {*PIPELINES, *DETECTORS} - {"none"}
    assert not words & {"quality", "vote", "logpool", "trimmed", "most_negative"}


def test_of_independent_emotions_all_that_reach_the_threshold_are_shown(scripted):
    face = {**FACE, "exclusive": False, "emotions": {"anger": 0.7, "joy": 0.6, "awe": 0.2}}
    scripted.answers = [Answer(201, {**IMAGE, "faces": [face]})]
    done = CliRunner().invoke(
        main, ["--server", scripted.url, "analyse", str(PHOTO), "--format", "csv"]
    )
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert row["emotion"] == "anger, joy"
    usual = CliRunner().invoke(
        main, ["--server", scripted.url, "analyse", str(PHOTO), "--format", "json"]
    )
    document = json.loads(usual.stdout)
    assert document["faces"][0]["exclusive"] is False
    assert not {"persons", "job", "position_ms"} & document.keys()


def test_a_state_that_cannot_be_used_is_said(run, folder):
    (folder / STATE_NAME).write_bytes(b"no database" * 100)
    done = run("watch", folder, "--once")
    assert (done.exit_code, "record of what was sent cannot be used" in done.stderr) == (1, True)


def test_live_says_what_it_needs(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    done = run("live")
    assert done.exit_code == 1
    assert "pip install opencv-python" in done.stderr
    monkeypatch.delitem(sys.modules, "cv2")
    done = run("live", "--camera", 99)
    assert "camera 99 cannot be opened" in done.stderr


# ---------------------------------------------------------------- messages


@pytest.fixture
def ask(scripted):
    return lambda *arguments: CliRunner().invoke(
        main, ["--server", scripted.url, *map(str, arguments)]
    )


def test_hidden_files_and_folders_are_skipped_and_counted(ask, scripted, tmp_path):
    (tmp_path / ".git").mkdir()
    for name in ("a.png", ".b.png", ".notes", ".git/c.png", f"{STATE_NAME}-wal"):
        (tmp_path / name).write_bytes(picture())
    done = ask("analyse", tmp_path, "--format", "json")
    assert (done.exit_code, len(scripted.requests)) == (0, 1)
    assert done.stderr == "skipped 3 hidden files or folders\n"
    done = ask("analyse", tmp_path / ".b.png", tmp_path / ".git", "--format", "json")
    assert (done.exit_code, done.stderr, len(scripted.requests)) == (0, "", 3)


def wrong(field, name="unknown-model"):
    answer = problem(422, name, f"unknown {field}")
    answer.body["errors"] = [{"field": field, "message": "unknown"}]
    return answer


@pytest.mark.parametrize("field", ["model", "detector", "pipeline", "threshold", "mood"])
def test_a_wrong_option_is_said_once(ask, scripted, tmp_path, field):
    for number in range(30):
        (tmp_path / f"{number}.png").write_bytes(picture())
    scripted.answers = [wrong(field)]
    done = ask("analyse", tmp_path)
    assert done.exit_code == 1
    assert done.stderr.count(f"unknown {field}") == 1
    assert done.stderr.endswith("1 of 30 images failed, 29 were not tried\n")


@pytest.mark.parametrize(("field", "name"), [("image", "about"), ("detector", "too-much-work")])
def test_what_one_image_causes_stops_no_other(ask, scripted, tmp_path, field, name):
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(picture())
    scripted.answers = [wrong(field, name)]
    assert ask("analyse", tmp_path).stderr.endswith("5 of 5 images failed\n")


def test_watching_ends_at_a_wrong_option_and_gives_up_no_image(ask, scripted, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(picture())
    watched = ["watch", tmp_path, "--once", "--interval", "0.05", "--workers", "1"]
    scripted.answers = [wrong("model")]
    done = ask(*watched)
    assert (done.exit_code, len(scripted.requests)) == (1, 1)
    assert done.stderr.splitlines()[2:] == ["0 sent, 0 given up", "stopped: unknown model"]
    scripted.answers = [Answer(201, IMAGE)]
    assert ask(*watched).stderr.endswith("3 sent, 0 given up\n")


@pytest.mark.parametrize("form", ["table", "csv", "json"])
@pytest.mark.parametrize("answer", [problem(403, "missing-right"), Answer(200, {"images": 1})])
def test_an_error_of_history_comes_without_a_head(ask, scripted, form, answer):
    scripted.answers = [answer]
    done = ask("history", "--format", form)
    assert (done.exit_code, done.stdout) == (1, "")


@pytest.mark.parametrize("command", ["history", "summary", "models"])
def test_a_wrong_path_is_said_with_the_option_for_it(run, service, command):
    done = CliRunner().invoke(main, ["--server", f"{service}/wrong", command])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "--server" in done.stderr
    assert "EMOTIONS_SERVER" in done.stderr


def test_an_image_that_is_not_stored_is_not_the_address(run):
    assert "--server" not in run("delete", 10**9).stderr


def test_what_is_not_the_service_is_said_with_the_option(ask, scripted):
    for answer in (Answer(404, b"<h1>no"), Answer(301, b"", {"Location": "http://x/"})):
        scripted.answers = [answer]
        assert "--server" in ask("models").stderr


def test_credentials_in_the_address_are_said_in_the_words_of_the_command():
    done = CliRunner().invoke(main, ["--server", "http://me:secret@127.0.0.1", "models"])
    assert done.exit_code == 2
    assert "pass the API key as --key" in done.stderr
    for word in ("api_key", "base_url", "secret"):
        assert word not in done.output
