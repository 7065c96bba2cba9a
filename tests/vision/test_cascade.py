"""The cascade search in strips: same windows as OpenCV, deadline and limits."""

from itertools import islice

import cv2
import numpy as np
import pytest

from app.deadline import NEVER, Deadline
from app.errors import DeadlineExceeded, TooMuchWork
from app.settings import ROOT
from app.vision.detectors import DETECTORS, cascade
from app.vision.image import Raster

FACE_SIDE = 28


class Expiring(Deadline):
    """A deadline that is exceeded at the check with the number `last`."""

    checks = 0
    last = 3

    def check(self, seconds=0.0):
        type(self).checks += 1
        if self.checks >= self.last:
            raise DeadlineExceeded("now")


@pytest.fixture
def face(astronaut_bgr):
    gray = cv2.cvtColor(astronaut_bgr, cv2.COLOR_BGR2GRAY)
    return cv2.resize(gray[60:180, 170:280], (FACE_SIDE, FACE_SIDE), interpolation=cv2.INTER_AREA)


def tiled(face, width, height, *, left=0, top=0):
    tiles = np.tile(face, (-(-(height + top) // FACE_SIDE), -(-(width + left) // FACE_SIDE)))
    return np.ascontiguousarray(tiles[top : top + height, left : left + width])


def by_opencv(gray, scale_factor):
    """The windows of one OpenCV call per size, sorted, because OpenCV's threads return them in any
    order."""
    whole = cv2.CascadeClassifier(str(cascade.CASCADE))
    found, factor = [], 1.0
    while (side := round(24 * factor)) <= min(gray.shape):
        windows = whole.detectMultiScale(
            gray,
            scaleFactor=scale_factor,
            minNeighbors=0,
            minSize=(side, side),
            maxSize=(side, side),
        )
        found += [(x, y, side, side) for x, y, *_ in np.asarray(windows).tolist()]
        factor *= scale_factor
    return sorted(found)


def search(gray, scale_factor, *, max_windows, deadline, **options):
    factors = cascade.scale_factors(scale_factor)
    return cascade.Cascade(**options).search(
        gray, factors, max_windows=max_windows, deadline=deadline
    )


def in_strips(gray, scale_factor):
    return sorted(search(gray, scale_factor, max_windows=10**9, deadline=NEVER))


@pytest.mark.parametrize("scale_factor", [1.1, 1.25])
@pytest.mark.parametrize("strip_pixels", [1, 5_000, 200_000])
def test_search_in_strips_returns_every_window_once(monkeypatch, face, scale_factor, strip_pixels):
    monkeypatch.setattr(cascade, "STRIP_PIXELS", strip_pixels)
    sizes = [(24, 24), (25, 24), (60, 24), (24, 25), (140, 25), (311, 93), (310, 94), (90, 201)]
    for number, (width, height) in enumerate(sizes):
        gray = tiled(face, width, height, left=number, top=2 * number)
        expected = by_opencv(gray, scale_factor)
        assert in_strips(gray, scale_factor) == expected
        assert expected or min(width, height) < 60


def test_search_in_strips_equals_opencv_on_a_real_image(monkeypatch, astronaut_bgr):
    monkeypatch.setattr(cascade, "STRIP_PIXELS", 20_000)
    gray = cv2.cvtColor(astronaut_bgr, cv2.COLOR_BGR2GRAY)
    assert in_strips(gray, 1.1) == by_opencv(gray, 1.1)


def test_fewer_stages_let_more_windows_pass(astronaut_bgr):
    gray = cv2.cvtColor(astronaut_bgr, cv2.COLOR_BGR2GRAY)
    every, first, most = (
        set(search(gray, 1.25, max_windows=10**9, deadline=NEVER, stages=stages))
        for stages in (cascade.STAGES, 10, 20)
    )
    assert every < most < first


def test_coarse_search_has_every_second_window_of_large_sizes(astronaut_bgr):
    gray = cv2.cvtColor(astronaut_bgr, cv2.COLOR_BGR2GRAY)
    fine, coarse = (
        search(gray, 1.25, max_windows=10**9, deadline=NEVER, fine=fine) for fine in (True, False)
    )
    large = cascade.FINE_FACTOR * cascade.WINDOW
    small, small_coarse = ([each for each in found if each[2] < large] for found in (fine, coarse))
    assert small == small_coarse
    assert len(small) < len(coarse) < len(fine)


def test_large_sizes_are_closer_together():
    factors = list(islice(cascade.scale_factors(4.0, large=3.0), 4))
    assert factors == [1, 4, 8, 16]
    assert list(islice(cascade.scale_factors(4.0), 3)) == [1, 4, 16]


@pytest.mark.parametrize("shape", [(24, 500_000), (500_000, 24), (60, 200_000), (3000, 3000)])
def test_strips_have_a_limited_number_of_pixels(monkeypatch, shape):
    seen = []
    monkeypatch.setattr(
        cascade,
        "passing_windows",
        lambda _, strip, fine: seen.append(strip.size) or np.empty((0, 2)),
    )
    search(np.zeros(shape, np.uint8), 1.25, max_windows=1, deadline=NEVER)
    assert max(seen) < 700_000


def test_search_stops_at_the_deadline(monkeypatch):
    seen = []
    monkeypatch.setattr(
        cascade, "passing_windows", lambda _, strip, fine: seen.append(1) or np.empty((0, 2))
    )
    with pytest.raises(DeadlineExceeded):
        search(np.zeros((2000, 2000), np.uint8), 1.1, max_windows=1, deadline=Expiring(0))
    assert len(seen) == Expiring.last - 1


def test_search_stops_at_too_many_windows(monkeypatch, face):
    seen = []
    real = cascade.passing_windows
    monkeypatch.setattr(
        cascade, "passing_windows", lambda *args, **named: seen.append(1) or real(*args, **named)
    )
    with pytest.raises(TooMuchWork, match=r"more than 1,000 candidate windows.*smaller image"):
        search(tiled(face, 2800, 2800), 1.1, max_windows=1000, deadline=NEVER)
    assert len(seen) < 20


@pytest.mark.parametrize(("name", "min_face_px"), [("haar", 1), ("haar", 28), ("haar_default", 1)])
def test_pattern_of_thousands_of_faces_is_rejected(face, name, min_face_px):
    gray = tiled(face, 2800, 2800)
    with pytest.raises(TooMuchWork, match="another detector"):
        DETECTORS[name].load(ROOT / "models").detect(Raster(gray, (2800, 2800)), min_face_px)


@pytest.mark.parametrize("name", ["haar", "haar_default", "single_shot"])
def test_every_detector_stops_at_the_deadline(name):
    """Without yunet, whose weights are not in the repository."""
    detector = DETECTORS[name].load(ROOT / "models")
    blank = np.zeros((600, 600, 3), np.uint8)
    with pytest.raises(DeadlineExceeded):
        detector.detect(Raster(blank[:, :, 0], (600, 600), colors=blank), 24, Deadline(0))


def test_image_of_two_hundred_faces_is_accepted(face):
    """Like an image of a crowd: each face has candidates at several sizes and positions."""
    gray = np.full((1400, 1400), 128, np.uint8)
    for x in range(20):
        for y in range(10):
            gray[20 + 135 * y : 48 + 135 * y, 20 + 68 * x : 48 + 68 * x] = face
    for name in ("haar", "haar_default"):
        found = DETECTORS[name].load(ROOT / "models").detect(Raster(gray, (1400, 1400)), 24)
        assert len(found) >= 150
