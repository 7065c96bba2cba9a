"""Every detector, by the door that all of them use."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from app.vision.detectors import DETECTORS
from app.vision.image import to_gray

pytestmark = pytest.mark.parametrize("name", sorted(DETECTORS))


def detect(detector, image_bgr):
    """Detections in an order of their own: detectors promise none."""
    found = detector.detect(image_bgr, to_gray(image_bgr))
    return sorted(found, key=lambda detection: (-detection.box.area, detection.box.xyxy))


def test_it_finds_the_face_of_a_photograph(name, astronaut_bgr):
    found, *others = detect(DETECTORS[name](), astronaut_bgr)
    # Eileen Collins' face, by eye: about 180..265 by 65..175.
    assert 160 < found.box.x1 < 200
    assert 250 < found.box.x2 < 290
    assert all(other.box.area < found.box.area for other in others)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (19, 19), (24, 24), (300, 200)])
def test_a_picture_without_faces_gives_none(name, shape):
    assert detect(DETECTORS[name](), np.full((*shape, 3), 90, np.uint8)) == []


def test_threads_do_not_disturb_each_other(name, astronaut_bgr):
    detector = DETECTORS[name]()
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


def test_a_huge_picture_leaves_no_memory_behind(name):
    """A cascade that is kept keeps some 50 bytes for each pixel of its largest picture."""
    detector = DETECTORS[name]()
    detect(detector, np.zeros((50, 50, 3), np.uint8))
    before = resident_bytes()
    detect(detector, np.zeros((3000, 3000, 3), np.uint8))
    assert resident_bytes() - before < 50_000_000


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
