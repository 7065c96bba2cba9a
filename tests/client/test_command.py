"""The command `emotions`, at the real service."""

import csv
import io
import json
import sys

import pytest
from click.testing import CliRunner
from emotions import transport
from emotions.cli import main
from emotions.watch import STATE_NAME
from PIL import Image

from tests.client.conftest import IMAGE, Answer, problem
from tests.client.test_with_service import PHOTO
from tests.conftest import picture

pytestmark = pytest.mark.weights


@pytest.fixture
def run(service):
    def invoke(*arguments, **more):
        return CliRunner().invoke(main, ["--server", service, *map(str, arguments)], **more)

    return invoke


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


def test_a_threshold_is_kept_to(run):
    done = run("analyse", PHOTO, "--no-store", "--threshold", "1", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert row["emotion"] == ""


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
    first, second, last = done.stderr.splitlines()
    assert first.startswith(str(folder / "broken.jpg"))
    assert "No such file" in second
    assert last == "2 of 4 pictures failed"


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
    assert done.stderr.endswith("1 of 40 pictures failed, 39 were not tried\n")
    assert "does not answer" in done.stderr


def test_a_folder_is_pushed_once(run, folder):
    watched = ["watch", folder, "--once", "--interval", "0.05"]
    done = run(*watched)
    assert done.exit_code == 0
    assert "a b.jpg: happiness" in done.stdout
    assert done.stderr == "2 sent, 0 given up\n"
    assert run(*watched).stderr == "0 sent, 0 given up\n"
    (folder / "broken.jpg").write_bytes(b"no picture")
    done = run(*watched)
    assert done.exit_code == 1
    assert "broken.jpg: the content is not a picture" in done.stderr


def test_once_ends_though_the_service_fails_with_a_picture(scripted, folder):
    scripted.answers = [problem(500, "internal", "it broke")]
    watched = ["watch", str(folder), "--once", "--interval", "0.05", "--workers", "1"]
    done = CliRunner().invoke(main, ["--server", scripted.url, *watched])
    assert done.exit_code == 1
    assert done.stderr == "it broke; trying again\n0 sent, 0 given up, 2 left for later\n"
    scripted.answers = [Answer(201, IMAGE)]
    done = CliRunner().invoke(main, ["--server", scripted.url, *watched])
    assert (done.exit_code, done.stderr) == (0, "2 sent, 0 given up\n")
    assert len(set(scripted.keys())) == 2


def test_a_picture_for_later_does_not_slow_the_looks(scripted, folder, monkeypatch):
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr("emotions.cli.time.sleep", sleep)
    scripted.answers = [problem(500, "internal")]
    watched = ["watch", str(folder), "--interval", "0.05", "--workers", "1"]
    CliRunner().invoke(main, ["--server", scripted.url, *watched])
    # The first look sees two pictures, the next two fail with one each.
    assert pauses == [0.05, 0.1, 0.2, 0.05, 0.05]


def test_watching_ends_where_the_key_does_not_do(scripted, folder):
    scripted.answers = [problem(401, "wrong-key", "unknown")] * 2 + [Answer(201, IMAGE)]
    watched = ["watch", str(folder), "--once", "--interval", "0.05", "--workers", "1"]
    done = CliRunner().invoke(main, ["--server", scripted.url, *watched])
    assert (done.exit_code, "stopped: the key does not do" in done.stderr) == (1, True)
    assert len(scripted.requests) == 1


def test_the_mood_of_a_group(run, folder):
    done = run("mood", folder, "--by", "vote", "--no-store", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["mood"], row["agreement"], row["faces"]) for row in rows] == [
        ("happiness", "1.00", "1")
    ] * 2
    assert json.loads(run("mood", PHOTO, "--format", "json").stdout)["aggregator"] == "quality"
    done = run("mood", PHOTO, "--by", "none")
    assert done.exit_code == 1
    assert "most_negative" in done.stderr  # the known ones are listed


def test_a_state_that_cannot_be_used_is_said(run, folder):
    (folder / STATE_NAME).write_bytes(b"no database" * 100)
    done = run("watch", folder, "--once")
    assert (done.exit_code, "cannot be written down" in done.stderr) == (1, True)


def test_live_says_what_it_needs(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    done = run("live")
    assert done.exit_code == 1
    assert "pip install opencv-python" in done.stderr
    monkeypatch.delitem(sys.modules, "cv2")
    done = run("live", "--camera", 99)
    assert "camera 99 cannot be opened" in done.stderr
