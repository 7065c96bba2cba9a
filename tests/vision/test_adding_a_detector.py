"""The example detector of docs/adding-a-detector.md passes the tests of all detectors."""

import re
import runpy

import pytest

from app.settings import ROOT
from app.vision.detectors import DETECTORS
from tests.conftest import upload
from tests.vision import test_detectors

PAGE = (ROOT / "docs" / "adding-a-detector.md").read_text("utf-8")


@pytest.fixture
def detector_class(tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "haar_alt2.py").write_text(code)
    return runpy.run_path(str(tmp_path / "haar_alt2.py"))["HaarAlt2Detector"]


def test_new_detector_passes_the_detector_tests(detector_class, tmp_path, astronaut_bgr):
    detector = detector_class.load(tmp_path)
    test_detectors.test_detector_finds_the_face_in_a_real_image(detector, astronaut_bgr)
    for shape in ((1, 1), (1, 500), (24, 24), (300, 200)):
        test_detectors.test_detector_finds_nothing_in_an_image_without_faces(detector, shape)
    for min_face_px in (24, 50, 100):
        test_detectors.test_detector_finds_a_face_for_any_smaller_min_face_px(
            detector, astronaut_bgr, min_face_px
        )
    for min_face_px in (1, 1000, 1e6):
        test_detectors.test_detector_accepts_any_min_face_px(detector, min_face_px)
    test_detectors.test_boxes_of_a_reduced_image_are_in_pixels_of_the_original(
        detector, astronaut_bgr
    )


def test_entry_in_detectors_makes_a_detector_available_in_the_api(
    detector_class, make_app, monkeypatch
):
    monkeypatch.setitem(DETECTORS, detector_class.name, detector_class)
    client = make_app(detector=detector_class.name).test_client()
    listed = {each["name"]: each for each in client.get("/v1/detectors").json["detectors"]}
    assert listed["haar_alt2"]["description"] == detector_class.description
    image = (ROOT / "docs" / "astronaut.jpg").read_bytes()
    answer = client.post("/v1/images", data={"image": upload(image, "a.jpg")})
    assert answer.status_code == 201
    assert answer.json["detector"] == "haar_alt2"
    assert len(answer.json["faces"]) == 1
