"""The detector of docs/adding-a-detector.md, through the tests that every detector passes."""

import re
import runpy

import pytest

from app.settings import ROOT
from app.vision.detectors import DETECTORS
from tests.conftest import upload
from tests.vision import test_detectors

PAGE = (ROOT / "docs" / "adding-a-detector.md").read_text("utf-8")


@pytest.fixture
def made(tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "haar_alt2.py").write_text(code)
    return runpy.run_path(str(tmp_path / "haar_alt2.py"))["HaarAlt2Detector"]


def test_it_passes_the_tests_of_detectors(made, tmp_path, astronaut_bgr):
    detector = made.load(tmp_path)
    test_detectors.test_it_finds_the_face_of_a_photograph(detector, astronaut_bgr)
    for shape in ((1, 1), (1, 500), (24, 24), (300, 200)):
        test_detectors.test_a_picture_without_faces_gives_none(detector, shape)
    for smallest in (24, 50, 100):
        test_detectors.test_the_smallest_wanted_face_may_be_larger(
            detector, astronaut_bgr, smallest
        )
    for smallest in (1, 1000, 1e6):
        test_detectors.test_any_smallest_face_gets_an_answer(detector, smallest)
    test_detectors.test_boxes_are_the_originals_where_fewer_pixels_were_read(
        detector, astronaut_bgr
    )


def test_one_line_makes_it_known_to_requests_and_lists(made, make_app, monkeypatch):
    monkeypatch.setitem(DETECTORS, made.name, made)
    client = make_app(detector=made.name).test_client()
    listed = {each["name"]: each for each in client.get("/v1/detectors").json["detectors"]}
    assert listed["haar_alt2"]["description"] == made.description
    photo = (ROOT / "docs" / "astronaut.jpg").read_bytes()
    answer = client.post("/v1/images", data={"image": upload(photo, "a.jpg")})
    assert answer.status_code == 201
    assert answer.json["detector"] == "haar_alt2"
    assert len(answer.json["faces"]) == 1
