"""The command `emotions`, with the real service and a stub server: analyse, mood and lists."""

import csv
import io
import json
import re
import sys

import pytest
from click.testing import CliRunner
from emotions.cli import main
from PIL import Image

from app.vision.aggregators import AGGREGATORS, DEFAULT
from app.vision.detectors import DETECTORS
from app.vision.pipelines import PIPELINES
from tests.client.conftest import ANALYSIS, FACE, PHOTO, Response
from tests.conftest import image_file

pytestmark = pytest.mark.weights


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


def test_key_is_read_from_environment_variable(scripted):
    scripted.responses = [Response(200, {"models": []})]
    environment = {"EMOTIONS_SERVER": scripted.url, "EMOTIONS_KEY": "emo_key"}
    assert CliRunner().invoke(main, ["models"], env=environment).exit_code == 0
    assert scripted.requests[0].headers["Authorization"] == "Bearer emo_key"


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


def test_live_names_missing_opencv_and_camera(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    done = run("live")
    assert done.exit_code == 1
    assert "pip install opencv-python" in done.stderr
    monkeypatch.delitem(sys.modules, "cv2")
    done = run("live", "--camera", 99)
    assert "camera 99 cannot be opened" in done.stderr
