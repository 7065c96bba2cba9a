"""Every detector, by the door that all of them use."""

import json
import re
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.errors import ModelUnavailable
from app.settings import ROOT
from app.vision.detectors import DETECTORS
from app.vision.detectors.cascade import CASCADE
from app.vision.detectors.haar import HaarDetector
from app.vision.image import Raster, shrink
from app.vision.install import install
from tests.conftest import YUNET_CARD
from tests.graphs import write_graph_model


@pytest.fixture(params=sorted(DETECTORS.keys() - {"none"}))  # which looks for nothing
def detector(request, tmp_path):
    if request.param == "yunet":
        shared = request.getfixturevalue("shared")
        (tmp_path / "card.json").write_text(json.dumps(YUNET_CARD))
        weights = shared / "yunet" / "yunet_n_320.onnx"
        install(weights, tmp_path / "card.json", tmp_path / "models")
        return DETECTORS[request.param].load(tmp_path / "models")
    return DETECTORS[request.param].load(ROOT / "models")


def detect(detector, image_bgr, *, min_face_px=24):
    """Detections in an order of their own: detectors promise none."""
    gray = np.ascontiguousarray(image_bgr[:, :, 1])
    raster = Raster(gray, gray.shape[::-1], colors=image_bgr)
    found = detector.detect(raster, min_face_px)
    return sorted(found, key=lambda detection: (-detection.box.area, detection.box.xyxy))


def test_it_finds_the_face_of_a_photograph(detector, astronaut_bgr):
    found, *others = detect(detector, astronaut_bgr)
    # Eileen Collins' face, by eye: about 180..265 by 65..175.
    assert 160 < found.box.x1 < 200
    assert 250 < found.box.x2 < 290
    assert all(other.box.area < found.box.area for other in others)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (19, 19), (24, 24), (300, 200)])
def test_a_picture_without_faces_gives_none(detector, shape):
    assert detect(detector, np.full((*shape, 3), 90, np.uint8)) == []


@pytest.mark.parametrize("min_face_px", [24, 50, 100])
def test_the_smallest_wanted_face_may_be_larger(detector, astronaut_bgr, min_face_px):
    """Collins' face is about 95 pixels wide, as detectors draw it."""
    found = detect(detector, astronaut_bgr, min_face_px=min_face_px)
    assert 80 < found[0].box.longer_side < 125
    assert 160 < found[0].box.x1 < 200


@pytest.mark.parametrize("min_face_px", [1, 1000, 1e6])
def test_any_smallest_face_gets_an_answer(detector, min_face_px):
    assert detect(detector, np.full((90, 60, 3), 90, np.uint8), min_face_px=min_face_px) == []


def test_boxes_are_the_originals_where_fewer_pixels_were_read(detector, astronaut_bgr):
    half = shrink(astronaut_bgr, 0.5)
    raster = Raster(np.ascontiguousarray(half[:, :, 1]), (512, 512), scale=0.5, colors=half)
    boxes = [each.box for each in detector.detect(raster, 50)]
    assert any(160 < box.x1 < 200 and 250 < box.x2 < 290 for box in boxes)


class Verdicts:
    """Stands for the checking network: the first proposal is a face for sure, all others hardly."""

    def __init__(self, *scores):
        self.scores = scores

    def classify(self, image_gray, boxes, *, deadline):
        return [{"face": score} for score in (*self.scores, *[0.1] * len(boxes))][: len(boxes)]


def test_the_cascade_proposes_and_the_network_decides(astronaut_bgr):
    assert detect(HaarDetector(Verdicts()), astronaut_bgr) == []
    (found,) = detect(HaarDetector(Verdicts(0.75)), astronaut_bgr)
    assert found.score == 0.75


@pytest.mark.parametrize("name", ["haar", "yunet"])
def test_missing_weights_are_said_with_what_to_do(tmp_path, name):
    with pytest.raises(ModelUnavailable, match=f"{name!r} are not installed: the operator must"):
        DETECTORS[name].load(tmp_path)


def test_a_network_of_something_else_is_no_check(tmp_path):
    write_graph_model(tmp_path / "haar")
    with pytest.raises(ModelUnavailable, match="must have the label 'face'"):
        HaarDetector.load(tmp_path)


def test_threads_do_not_disturb_each_other(detector, astronaut_bgr):
    pictures = [astronaut_bgr, astronaut_bgr[:, ::-1].copy(), astronaut_bgr[::2, ::2].copy()]
    expected = [detect(detector, image) for image in pictures]
    wrong = []

    def work(index):
        for _ in range(5):
            if detect(detector, pictures[index % 3]) != expected[index % 3]:
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert expected[0]


def test_a_huge_picture_leaves_no_memory_behind(detector):
    """A cascade that is kept keeps some 8 bytes for each pixel of its largest picture; one that is
    asked for all sizes at once takes 50 meanwhile."""
    detect(detector, np.zeros((50, 50, 3), np.uint8))
    before = memory_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the most begins anew
    detect(detector, np.zeros((3000, 3000, 3), np.uint8))
    assert memory_bytes("VmHWM") - before < 150_000_000
    assert memory_bytes("VmRSS") - before < 50_000_000


def memory_bytes(name):
    (line,) = re.findall(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(line)


def test_size_by_size_the_cascade_finds_what_opencv_finds_at_once(astronaut_bgr):
    """`haar_default` is what the original service has, to the pixel."""
    half = astronaut_bgr[::2, ::2]
    picture = np.vstack([np.tile(astronaut_bgr, (1, 2, 1)), np.tile(half, (2, 4, 1))])
    gray = np.ascontiguousarray(picture[:, :, 1])
    at_once = cv2.CascadeClassifier(str(CASCADE)).detectMultiScale(gray)
    found = detect(DETECTORS["haar_default"].load(ROOT / "models"), picture)
    expected = [(x, y, x + w, y + h) for x, y, w, h in at_once.tolist()]
    assert sorted(each.box.xyxy for each in found) == sorted(expected)
    assert len(expected) > 2
