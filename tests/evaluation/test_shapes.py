"""Wide, tall and turned images that detectors are measured on."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.settings import ROOT
from app.vision import tiles
from app.vision.detectors import DETECTORS
from app.vision.types import Box
from evaluation import detection, shapes
from evaluation.shapes import Example, former, rows_of, served, turns
from training.data.photos import MarkedFace, Photograph

PHOTO = ROOT / "docs" / "astronaut.jpg"
FACE = MarkedFace(Box(178, 66, 273, 161))


@pytest.mark.parametrize("is_wide", [True, False])
def test_photographs_are_joined_with_their_faces(is_wide):
    first, second = rows_of([Photograph(PHOTO, (FACE,))] * 6, 3, is_wide=is_wide)
    length, breadth = (0, 1) if is_wide else (1, 0)
    assert (first.size_wh[length], first.size_wh[breadth]) == (1536, 512)
    assert [face.box.xyxy[length] for face in first.faces] == [
        FACE.box.xyxy[length] + 512 * number for number in range(3)
    ]
    assert len(second.faces) == 3
    image = cv2.imdecode(np.frombuffer(first.data, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[:2] == first.size_wh[::-1]


def test_a_face_that_is_cut_need_not_be_found_and_one_outside_is_left_out(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((256, 1000, 3), np.uint8))
    faces = tuple(MarkedFace(Box(x, 50, x + 40, 90)) for x in (100, 490, 600))
    (example,) = rows_of([Photograph(path, faces)], 2, is_wide=True)
    assert example.size_wh == (1024, 512)
    assert [face.box.xyxy for face in example.faces] == [
        (200, 100, 280, 180),
        (980, 100, 1060, 180),
    ]
    assert [face.sure for face in example.faces] == [True, False]
    assert [example.counts(face) for face in example.faces] == [True, False]


@pytest.mark.parametrize(("side", "counts"), [(51, False), (52, True)])
def test_small_faces_do_not_count(side, counts):
    example = Example(b"", (2560, 512), ())
    assert example.counts(MarkedFace(Box(0, 0, side, side))) == counts


def test_the_former_rule_is_what_it_was(astronaut_bgr):
    image = np.full((512, 5120, 3), 128, np.uint8)
    image[:, 2000:2512] = astronaut_bgr
    data = cv2.imencode(".png", image)[1].tobytes()
    detector = DETECTORS["single_shot"].load(ROOT / "models")
    assert former(detector, data) == []
    assert len(served(detector, data)) == 1
    assert tiles.MAX_ASPECT == 4  # as before


def test_turns_are_counted():
    text = turns(["haar"], [Photograph(PHOTO, (FACE,))], ROOT / "models")
    row = text.splitlines()[-1]
    assert row.startswith("| haar | 3 |")
    assert row.count("%") == 3


def test_the_page_of_detectors_keeps_the_part(tmp_path, monkeypatch):
    page = tmp_path / "detectors.md"
    page.write_text("all\n\n<!-- shapes -->\nold\n<!-- /shapes -->\n")
    monkeypatch.setattr(shapes, "PAGE", page)
    monkeypatch.setattr(shapes, "read_photographs", lambda *_, **__: [Photograph(PHOTO, (FACE,))])
    monkeypatch.setattr(shapes, "MEASURED", ("haar",))
    monkeypatch.setattr(sys, "argv", ["command", "--write", "--models-dir", str(ROOT / "models")])
    shapes.main()
    text = page.read_text()
    assert text.startswith("all\n\n<!-- shapes -->\n## Wide and tall images")
    assert "old" not in text
    assert "| as they are | 3 | haar, now | 3 of 3 | 100.0 % | 0 |" in text
    assert "## Images that lie on their side" in text
    assert detection.block(text, "shapes").endswith("<!-- /shapes -->")


def test_the_committed_page_has_the_part():
    text = (ROOT / "docs" / "detectors.md").read_text("utf-8")
    assert "| 5:1 | " in detection.block(text, "shapes")
    assert Path("docs/detectors.md") == detection.PAGE
