"""The evaluation of detectors on synthetic photographs."""

import json
import shutil
import sys

import numpy as np
import pytest

from app.deadline import NEVER
from app.settings import ROOT
from app.vision.detectors import DETECTORS
from app.vision.types import Box, Detection
from evaluation import detection, field
from evaluation.detection_scores import (
    BARE,
    MASKED,
    Search,
    Setting,
    installed_detectors,
    scores,
    search,
)
from evaluation.systems import CLASSIFIER
from tests.conftest import StubDetector, image_file
from training.data.photos import AnnotatedFace, Photograph

SIDE = 200
FACE, SMALL, MASK = Box(0, 0, 40, 40), Box(100, 0, 121, 21), Box(0, 100, 60, 160)


def search_result(*boxes, longer_side=SIDE):
    faces = (
        AnnotatedFace(FACE, condition="bare"),
        AnnotatedFace(SMALL),
        AnnotatedFace(MASK, condition="masked"),
        AnnotatedFace(Box(150, 150, 190, 190), sure=False),
    )
    found = [Detection(box, 0.9) for box in boxes]
    return Search(Photograph(None, faces), longer_side, found, milliseconds=1.0)


@pytest.mark.parametrize(
    ("options", "faces"),
    [
        ({}, 3),
        ({"condition": BARE}, 2),
        ({"condition": MASKED}, 1),
        ({"condition": BARE, "shares": (0.05, 0.15)}, 1),
        ({"condition": BARE, "shares": (0.2, 1.01)}, 1),
        ({"shares": (0.3, 1.01)}, 1),
    ],
)
def test_scores_count_faces_by_condition_and_size(options, faces):
    figures = scores([search_result(FACE, SMALL, MASK)], min_iou=0.5, **options)
    assert (figures.true_positives, figures.false_positives, figures.false_negatives) == (
        faces,
        0,
        0,
    )


def test_scores_ignore_small_faces_in_a_large_image():
    figures = scores([search_result(FACE, longer_side=500)], min_iou=0.5, condition=BARE)
    assert (figures.true_positives, figures.false_negatives) == (1, 0)
    figures = scores([search_result(SMALL, longer_side=500)], min_iou=0.5, condition=BARE)
    assert (figures.false_positives, figures.false_negatives) == (0, 1)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with three photographs, two without faces, a portrait, models, and a detector.

    The detector finds a face in the upper left corner of every image.
    """
    photos = tmp_path / "data" / "photos"
    images = {
        "crowds/a.png": "FACE",
        "natural/b.png": "",
        "lfw-expressions/c.png": "happiness",
        "groups/dogs.png": "",
    }
    for name in images:
        (photos / name).parent.mkdir(parents=True)
        (photos / name).write_bytes(image_file(SIDE, SIDE, gray=250))
    rows = [f"{name},val" for name in images if not name.startswith("groups")]
    (photos / "images.csv").write_text("\n".join(["image,split", *rows]))
    (photos / "faces.csv").write_text(
        "image,x1,y1,x2,y2,label,condition,expression\n"
        "crowds/a.png,0,0,40,40,sure,bare,\n"
        "crowds/a.png,100,0,140,40,sure,bare,\n"
        "lfw-expressions/c.png,0,0,40,40,sure,,neutral\n"
    )
    (photos / "portrait_readings.csv").write_text(
        "image,own_label,reader1,sure1,reader2,sure2\n"
        "lfw-expressions/c.png,neutral,happiness,1,happiness,1\n"
    )
    (photos / "groups" / "boxes.csv").write_text("image,x1,y1,x2,y2\n")

    class Corner(StubDetector):
        def detect(self, raster, min_face_px, deadline=NEVER):
            return [Detection(FACE, 0.75)]

    monkeypatch.setitem(DETECTORS, "corner", Corner)
    monkeypatch.setattr(field, "MIN_FACES", 1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "accuracy.md").write_text(
        "all <!-- detectors -->old<!-- /detectors --> ours"
    )
    shutil.copytree(ROOT / "models" / CLASSIFIER, tmp_path / "models" / CLASSIFIER)
    (tmp_path / "models" / "corner").mkdir()
    (tmp_path / "models" / "corner" / "card.json").write_text('{"name": "corner"}')
    return tmp_path


def test_command_writes_page_chart_card_and_summary(project, monkeypatch):
    options = ["--data", "data", "--detectors", "corner", "--shares", "0.05", "--write"]
    monkeypatch.setattr(sys, "argv", ["command", *options])
    detection.main()
    text = (project / "docs" / "detectors.md").read_text()
    assert "uses 3 photographs" in text
    summary = next(line for line in text.splitlines() if line.startswith("| corner, ≥ 5%"))
    cells = [cell.strip() for cell in summary.split("|")]
    assert cells[2].startswith("0.50 (")
    assert cells[3].startswith("0.33 (")
    assert cells[-3] == "2"
    assert "| corner, ≥ 5% | crowds | bare | 0.5 | 1 | 0 | 1 | 1.00 | 0.50 | 0.67 |" in text
    assert "| corner | 100.0 % |" in text
    assert "| macro end-to-end accuracy | happiness (1) |" in text
    assert f"in front of `{CLASSIFIER}` on 1 portraits" in text
    assert (project / "docs" / "detectors.png").stat().st_size > 1000
    card = json.loads((project / "models" / "corner" / "card.json").read_text())
    assert card["name"] == "corner"
    assert (card["evaluation"]["pictures"], card["evaluation"]["faces"]) == (3, 2)
    assert (card["evaluation"]["recall"], card["evaluation"]["precision"]) == (0.5, 0.3333)
    summary = (project / "docs" / "accuracy.md").read_text()
    assert "| `corner` | 50.0 % | 33.3 % | 2 |" in summary
    assert summary.endswith("<!-- /detectors --> ours")


def test_installed_detectors_prints_detectors_without_weights(tmp_path, capsys):
    assert "haar_default" in installed_detectors(tmp_path)
    assert "the detector 'yunet' are not installed" in capsys.readouterr().out


def test_search_alternates_settings_and_passes_the_smallest_face(project, monkeypatch):
    sizes = []

    class Recorder(StubDetector):
        def detect(self, raster, min_face_px, deadline=NEVER):
            sizes.append(min_face_px)
            return []

    monkeypatch.setitem(DETECTORS, "corner", Recorder)
    settings = [Setting("corner", 0.05), Setting("corner", 0.1)]
    photograph = Photograph(project / "data" / "photos" / "crowds" / "a.png", ())
    found = search([photograph] * 2, settings, project)
    assert sizes == [10, 20, 10, 20]
    assert all(np.isfinite(each.milliseconds) for searches in found.values() for each in searches)
