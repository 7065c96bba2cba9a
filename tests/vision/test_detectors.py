"""Every detector of DETECTORS, through the protocol Detector."""

import json
import threading

import cv2
import numpy as np
import pytest

from app.errors import ModelUnavailable
from app.settings import ROOT
from app.vision.detectors import DETECTORS
from app.vision.detectors.cascade import CASCADE
from app.vision.detectors.haar import HaarDetector, candidate_cascade, candidates
from app.vision.image import Raster, shrink
from app.vision.install import install
from testbed.processes import peak_mb, reset_peak, resident_mb
from tests.conftest import YUNET_CARD
from tests.graphs import write_graph_model


@pytest.fixture(params=sorted(DETECTORS.keys() - {"none"}))  # "none" does not search
def detector(request, tmp_path):
    if request.param == "yunet":
        shared = request.getfixturevalue("shared")
        (tmp_path / "card.json").write_text(json.dumps(YUNET_CARD))
        weights = shared / "yunet" / "yunet_n_320.onnx"
        install(weights, tmp_path / "card.json", tmp_path / "models")
        return DETECTORS[request.param].load(tmp_path / "models")
    return DETECTORS[request.param].load(ROOT / "models")


def detect(detector, image_bgr, *, min_face_px=24):
    """The detections, sorted, because detectors return them in any order."""
    gray = np.ascontiguousarray(image_bgr[:, :, 1])
    raster = Raster(gray, gray.shape[::-1], colors=image_bgr)
    found = detector.detect(raster, min_face_px)
    return sorted(found, key=lambda detection: (-detection.box.area, detection.box.xyxy))


def test_detector_finds_the_face_in_a_real_image(detector, astronaut_bgr):
    largest, *rest = detect(detector, astronaut_bgr)
    # Eileen Collins' face is at about 180..265 by 65..175.
    assert 160 < largest.box.x1 < 200
    assert 250 < largest.box.x2 < 290
    assert all(detection.box.area < largest.box.area for detection in rest)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (19, 19), (24, 24), (300, 200)])
def test_detector_finds_nothing_in_an_image_without_faces(detector, shape):
    assert detect(detector, np.full((*shape, 3), 90, np.uint8)) == []


@pytest.mark.parametrize("min_face_px", [24, 50, 100])
def test_detector_finds_a_face_for_any_smaller_min_face_px(detector, astronaut_bgr, min_face_px):
    """The box of the face has about 95 pixels."""
    found = detect(detector, astronaut_bgr, min_face_px=min_face_px)
    assert 80 < found[0].box.longer_side < 125
    assert 160 < found[0].box.x1 < 200


@pytest.mark.parametrize("min_face_px", [1, 1000, 1e6])
def test_detector_accepts_any_min_face_px(detector, min_face_px):
    assert detect(detector, np.full((90, 60, 3), 90, np.uint8), min_face_px=min_face_px) == []


def test_boxes_of_a_reduced_image_are_in_pixels_of_the_original(detector, astronaut_bgr):
    half = shrink(astronaut_bgr, 0.5)
    raster = Raster(np.ascontiguousarray(half[:, :, 1]), (512, 512), scale=0.5, colors=half)
    boxes = [each.box for each in detector.detect(raster, 50)]
    assert any(160 < box.x1 < 200 and 250 < box.x2 < 290 for box in boxes)


class StubVerifier:
    """Replaces the verification network: gives the first candidates these scores and all others
    0.1."""

    def __init__(self, *scores):
        self.scores = scores

    def classify(self, image_gray, boxes, *, deadline):
        return [{"face": score} for score in (*self.scores, *[0.1] * len(boxes))][: len(boxes)]


def test_haar_accepts_only_candidates_that_the_network_verifies(astronaut_bgr):
    assert detect(HaarDetector(StubVerifier()), astronaut_bgr) == []
    (found,) = detect(HaarDetector(StubVerifier(0.95)), astronaut_bgr)
    assert found.score == 0.95


class BoxVerifier:
    """Replaces the verification network: scores each box with a function."""

    def __init__(self, score_of):
        self.score_of = score_of

    def classify(self, image_gray, boxes, *, deadline):
        return [{"face": self.score_of(box)} for box in boxes]


@pytest.mark.parametrize(("few", "score"), [((1,), 0.85), ((2,), 0.7), ((1, 2), 0.7)])
def test_haar_requires_a_higher_score_for_a_candidate_of_few_windows(astronaut_bgr, few, score):
    gray = np.ascontiguousarray(astronaut_bgr[:, :, 1])
    found = candidates(candidate_cascade(), Raster(gray, gray.shape[::-1]), 24)
    boxes = {each.box for each in found if each.windows in few}
    assert boxes
    only_few = BoxVerifier(lambda box: score if box in boxes else 0.1)
    only_more = BoxVerifier(lambda box: 0.1 if box in boxes else score)
    assert detect(HaarDetector(only_few), astronaut_bgr) == []
    assert detect(HaarDetector(only_more), astronaut_bgr)


@pytest.mark.parametrize("name", ["haar", "yunet"])
def test_missing_weights_are_reported_with_advice(tmp_path, name):
    with pytest.raises(ModelUnavailable, match=f"{name!r} are not installed: the operator must"):
        DETECTORS[name].load(tmp_path)


def test_haar_rejects_a_network_without_the_label_face(tmp_path):
    write_graph_model(tmp_path / "haar")
    with pytest.raises(ModelUnavailable, match="must have the label 'face'"):
        HaarDetector.load(tmp_path)


def test_detector_gives_the_same_results_in_several_threads(detector, astronaut_bgr):
    images = [astronaut_bgr, astronaut_bgr[:, ::-1].copy(), astronaut_bgr[::2, ::2].copy()]
    expected = [detect(detector, image) for image in images]
    wrong = []

    def work(index):
        for _ in range(5):
            if detect(detector, images[index % 3]) != expected[index % 3]:
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert expected[0]


def test_detector_releases_the_memory_of_a_large_image(detector):
    """OpenCV's cascade stores about 8 bytes per pixel of the largest image, and takes 50 bytes per
    pixel during a search at all sizes."""
    detect(detector, np.zeros((50, 50, 3), np.uint8))
    before = resident_mb()
    reset_peak()
    detect(detector, np.zeros((3000, 3000, 3), np.uint8))
    assert peak_mb() - before < 150
    assert resident_mb() - before < 50


def test_haar_default_equals_detect_multi_scale(astronaut_bgr):
    """`haar_default` finds exactly the boxes of the original service."""
    half = astronaut_bgr[::2, ::2]
    image = np.vstack([np.tile(astronaut_bgr, (1, 2, 1)), np.tile(half, (2, 4, 1))])
    gray = np.ascontiguousarray(image[:, :, 1])
    windows = cv2.CascadeClassifier(str(CASCADE)).detectMultiScale(gray)
    found = detect(DETECTORS["haar_default"].load(ROOT / "models"), image)
    expected = [(x, y, x + w, y + h) for x, y, w, h in windows.tolist()]
    assert sorted(each.box.xyxy for each in found) == sorted(expected)
    assert len(expected) > 2
