"""The evaluation of detectors on made photographs: what counts, what it writes."""

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
from evaluation.detection import BARE, MASKED, Search, Setting, scores
from tests.conftest import StubDetector, picture
from training.data.photos import MarkedFace, Photograph

SIDE = 200
FACE, SMALL, MASK = Box(0, 0, 40, 40), Box(100, 0, 121, 21), Box(0, 100, 60, 160)


def searched(*boxes, longer_side=SIDE):
    faces = (
        MarkedFace(FACE, condition="bare"),
        MarkedFace(SMALL),
        MarkedFace(MASK, condition="masked"),
        MarkedFace(Box(150, 150, 190, 190), sure=False),
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
def test_which_faces_have_to_be_found(options, faces):
    made = scores([searched(FACE, SMALL, MASK)], min_iou=0.5, **options)
    assert (made.true_positives, made.false_positives, made.false_negatives) == (faces, 0, 0)


def test_small_faces_do_not_count_in_a_large_picture():
    made = scores([searched(FACE, longer_side=500)], min_iou=0.5, condition=BARE)
    assert (made.true_positives, made.false_negatives) == (1, 0)
    made = scores([searched(SMALL, longer_side=500)], min_iou=0.5, condition=BARE)
    assert (made.false_positives, made.false_negatives) == (0, 1)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Two photographs of crowds, one without faces, and a portrait; one detector that takes every
    picture's upper left corner for a face."""
    photos = tmp_path / "data" / "photos"
    pictures = {
        "crowds/a.png": "FACE",
        "natural/b.png": "",
        "lfw-expressions/c.png": "happiness",
        "groups/dogs.png": "",
    }
    for name in pictures:
        (photos / name).parent.mkdir(parents=True)
        (photos / name).write_bytes(picture(SIDE, SIDE, gray=250))
    rows = [f"{name},val" for name in pictures if not name.startswith("groups")]
    (photos / "images.csv").write_text("\n".join(["image,split", *rows]))
    (photos / "faces.csv").write_text(
        "image,x1,y1,x2,y2,label,condition,expression\n"
        "crowds/a.png,0,0,40,40,sure,bare,\n"
        "crowds/a.png,100,0,140,40,sure,bare,\n"
        "lfw-expressions/c.png,0,0,40,40,sure,,happiness\n"
    )
    (photos / "groups" / "boxes.csv").write_text("image,x1,y1,x2,y2\n")

    class Corner(StubDetector):
        def detect(self, raster, min_face_px, deadline=NEVER):
            return [Detection(FACE, 0.75)]

    monkeypatch.setitem(DETECTORS, "corner", Corner)
    monkeypatch.setattr(field, "FEWEST_PICTURES", 1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "accuracy.md").write_text(
        "all <!-- detectors -->old<!-- /detectors --> ours"
    )
    shutil.copytree(ROOT / "models" / "custom_net_8", tmp_path / "models" / "custom_net_8")
    (tmp_path / "models" / "corner").mkdir()
    (tmp_path / "models" / "corner" / "card.json").write_text('{"name": "corner"}')
    return tmp_path


def test_it_writes_a_page_a_chart_and_the_row_of_the_summary(workplace, monkeypatch):
    options = ["--data", "data", "--detectors", "corner", "--shares", "0.05", "--write"]
    monkeypatch.setattr(sys, "argv", ["command", *options])
    detection.main()
    text = (workplace / "docs" / "detectors.md").read_text()
    assert "3 photographs, 2 of them without" in text
    summary = next(line for line in text.splitlines() if line.startswith("| corner, from 5%"))
    cells = [cell.strip() for cell in summary.split("|")]
    assert cells[2].startswith("0.50 (")
    assert cells[3].startswith("0.33 (")
    assert cells[-3] == "2"
    assert "| corner, from 5% | crowds | bare | 0.5 | 1 | 0 | 1 | 1.00 | 0.50 | 0.67 |" in text
    assert "| corner | 100.0 % |" in text
    assert (workplace / "docs" / "detectors.png").stat().st_size > 1000
    card = json.loads((workplace / "models" / "corner" / "card.json").read_text())
    assert card["name"] == "corner"
    assert (card["evaluation"]["pictures"], card["evaluation"]["faces"]) == (3, 2)
    assert (card["evaluation"]["recall"], card["evaluation"]["precision"]) == (0.5, 0.3333)
    summary = (workplace / "docs" / "accuracy.md").read_text()
    assert "| `corner` | 50.0 % | 33.3 % | 2 |" in summary
    assert summary.endswith("<!-- /detectors --> ours")


def test_detectors_without_weights_are_left_out_and_named(tmp_path, capsys):
    assert "haar_default" in detection.ready(tmp_path)
    assert "the detector 'yunet' are not installed" in capsys.readouterr().out


def test_detectors_take_turns_and_are_asked_for_the_smallest_face(workplace, monkeypatch):
    asked = []

    class Noting(StubDetector):
        def detect(self, raster, min_face_px, deadline=NEVER):
            asked.append(min_face_px)
            return []

    monkeypatch.setitem(DETECTORS, "corner", Noting)
    settings = [Setting("corner", 0.05), Setting("corner", 0.1)]
    photograph = Photograph(workplace / "data" / "photos" / "crowds" / "a.png", ())
    found = detection.search([photograph] * 2, settings, workplace)
    assert asked == [10, 20, 10, 20]
    assert all(np.isfinite(each.milliseconds) for searches in found.values() for each in searches)
