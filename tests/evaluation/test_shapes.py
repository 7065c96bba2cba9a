"""The evaluation of detectors on wide, tall and rotated images."""

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
from evaluation.shapes import Example, find_by_current_rule, find_by_former_rule, rotations, rows_of
from training.data.photos import AnnotatedFace, Photograph

PHOTO = ROOT / "docs" / "astronaut.jpg"
FACE = AnnotatedFace(Box(178, 66, 273, 161))


@pytest.mark.parametrize("is_wide", [True, False])
def test_rows_of_joins_photographs_and_faces(is_wide):
    first, second = rows_of([Photograph(PHOTO, (FACE,))] * 6, 3, is_wide=is_wide)
    length, breadth = (0, 1) if is_wide else (1, 0)
    assert (first.size_wh[length], first.size_wh[breadth]) == (1536, 512)
    assert [face.box.xyxy[length] for face in first.faces] == [
        FACE.box.xyxy[length] + 512 * number for number in range(3)
    ]
    assert len(second.faces) == 3
    image = cv2.imdecode(np.frombuffer(first.data, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[:2] == first.size_wh[::-1]


def test_rows_of_ignores_cut_faces_and_drops_faces_outside(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((256, 1000, 3), np.uint8))
    faces = tuple(AnnotatedFace(Box(x, 50, x + 40, 90)) for x in (100, 490, 600))
    (example,) = rows_of([Photograph(path, faces)], 2, is_wide=True)
    assert example.size_wh == (1024, 512)
    assert [face.box.xyxy for face in example.faces] == [
        (200, 100, 280, 180),
        (980, 100, 1060, 180),
    ]
    assert [face.sure for face in example.faces] == [True, False]
    assert [example.counts(face) for face in example.faces] == [True, False]


@pytest.mark.parametrize(("side", "counts"), [(51, False), (52, True)])
def test_example_ignores_small_faces(side, counts):
    example = Example(b"", (2560, 512), ())
    assert example.counts(AnnotatedFace(Box(0, 0, side, side))) == counts


def test_former_rule_misses_face_in_wide_image(astronaut_bgr):
    image = np.full((512, 5120, 3), 128, np.uint8)
    image[:, 2000:2512] = astronaut_bgr
    data = cv2.imencode(".png", image)[1].tobytes()
    detector = DETECTORS["single_shot"].load(ROOT / "models")
    assert find_by_former_rule(detector, data) == []
    assert len(find_by_current_rule(detector, data)) == 1
    assert tiles.MAX_ASPECT == 4  # restored


def test_rotations_counts_every_rotation():
    text = rotations(["haar"], [Photograph(PHOTO, (FACE,))], ROOT / "models")
    row = text.splitlines()[-1]
    assert row.startswith("| haar | 3 |")
    assert row.count("%") == 3


def test_command_replaces_only_its_block(tmp_path, monkeypatch):
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
    assert "| original | 3 | haar, now | 3 of 3 | 100.0 % | 0 |" in text
    assert "## Rotated images" in text
    assert detection.block(text, "shapes").endswith("<!-- /shapes -->")


def test_committed_page_has_the_block():
    text = (ROOT / "docs" / "detectors.md").read_text("utf-8")
    assert "| 5:1 | " in detection.block(text, "shapes")
    assert Path("docs/detectors.md") == detection.PAGE
