"""Faces in wide and tall images: the default smallest face, and tiles for networks."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings import ROOT
from app.vision import tiles as tiling
from app.vision.detectors import DETECTORS, MAX_ASPECT, default_min_face_px
from app.vision.engine import Engine
from app.vision.image import Raster
from app.vision.tiles import MAX_TILES, cut_into_tiles, search_tiles, searched_side
from app.vision.types import Box, Detection, DetectionOptions
from tests.conftest import analysis_request

SIDES = st.integers(1, 60_000)


@pytest.fixture(scope="module")
def engine():
    return Engine(
        ROOT / "models",
        model="custom_net_8",
        detector="haar",
        max_image_bytes=10**9,
        max_pixels=50_000_000,
        max_faces=200,
    )


def canvas(astronaut_bgr, width, height, *, at):
    """A larger grey image that contains the real image of 512x512 pixels at the position `at`. The
    face has about 95 pixels."""
    image = np.full((height, width, 3), 128, np.uint8)
    x, y = at
    image[y : y + 512, x : x + 512] = astronaut_bgr
    return cv2.imencode(".png", image)[1].tobytes()


def analyse(engine, data, **options):
    return engine.analyse(analysis_request(data, **options))


@given(SIDES, SIDES)
def test_default_min_face_px_is_a_share_of_the_longer_side_and_less_in_long_images(width, height):
    longer, shorter = max(width, height), min(width, height)
    smallest = default_min_face_px(0.05, width, height)
    assert smallest <= 0.05 * longer
    assert smallest <= 0.1 * max(shorter, longer / MAX_ASPECT)
    if longer <= 2 * shorter:
        assert smallest == 0.05 * longer


@pytest.mark.parametrize(
    "options",
    [{"detector": "haar"}, {"detector": "single_shot"}, {"pipeline": "single_shot"}],
    ids=["haar", "single_shot", "pipeline single_shot"],
)
@pytest.mark.parametrize(
    ("size_wh", "at"),
    [
        ((2560, 512), (1024, 0)),
        ((512, 2560), (0, 1900)),
        ((5120, 512), (3111, 0)),
        ((512, 7000), (0, 6400)),
        ((10240, 600), (0, 40)),
    ],
)
def test_face_of_95_pixels_is_found_in_a_wide_or_tall_image(
    engine, astronaut_bgr, options, size_wh, at
):
    found = analyse(engine, canvas(astronaut_bgr, *size_wh, at=at), **options)
    box = found.faces[0].box
    assert abs((box.x1 + box.x2) / 2 - at[0] - 222) < 25
    assert abs((box.y1 + box.y2) / 2 - at[1] - 120) < 30
    assert 75 < box.longer_side < 150
    assert (found.width, found.height) == size_wh


@pytest.mark.parametrize("pipeline", ["two_stage", "single_shot"])
def test_dropped_faces_of_tiles_are_counted(engine, astronaut_bgr, pipeline):
    data = canvas(astronaut_bgr, 2560, 512, at=(512, 0))
    detector = "single_shot" if pipeline == "two_stage" else None
    detection = DetectionOptions(min_face_px=150)
    found = analyse(engine, data, pipeline=pipeline, detector=detector, detection=detection)
    assert found.faces == ()
    assert found.dropped["min_face_px"] >= 1


@pytest.mark.parametrize("left", range(900, 1500, 75))
def test_face_at_the_seam_of_two_tiles_is_found_once(engine, astronaut_bgr, left):
    data = canvas(astronaut_bgr, 5120, 512, at=(left, 0))
    found = analyse(
        engine, data, pipeline="single_shot", detection=DetectionOptions(min_confidence=0.6)
    )
    assert len(found.faces) == 1
    assert 75 < found.faces[0].box.longer_side < 150


def raster(width, height):
    return Raster(np.zeros((height, width), np.uint8), (width, height))


def test_cost_of_a_strip_is_bounded():
    """With the default `min_face_px`, the cascade searches at most the pixels of MAX_ASPECT
    squares, for a strip of any length."""
    for aspect in (1, 2, 5, 50, 500, 5000):
        width, height = 100 * aspect, 100
        scale = min(1.0, 24 / default_min_face_px(0.05, width, height))
        assert scale**2 * width * height <= 240**2 * MAX_ASPECT


@given(st.integers(1, 3000), st.integers(1, 90), st.booleans(), st.sampled_from([64, 320]))
def test_tiles_cover_the_image_and_overlap(length, breadth, is_wide, square):
    size_wh = (length, breadth) if is_wide else (breadth, length)
    tiles = cut_into_tiles(raster(*size_wh), square)
    assert len(tiles) <= MAX_TILES
    assert tiles[0].start == 0
    assert tiles[-1].end == max(size_wh)
    for before, after in pairwise(tiles):
        assert before.end - after.start >= min(*size_wh, square // 2) - 2
    if max(size_wh) <= max(tiling.MAX_ASPECT * min(size_wh), square):
        assert len(tiles) == 1
    assert searched_side(*size_wh) <= tiling.MAX_ASPECT * min(size_wh)


@pytest.mark.parametrize("is_wide", [True, False])
def test_face_in_two_tiles_is_returned_once_and_cut_faces_are_dropped(is_wide):
    """The face is at 380 to 420 of 1000 pixels, and the first two tiles are 0 to 400 and 300 to
    700. The first tile contains half of the face, which gets a higher score in this test."""
    image = raster(1000, 100) if is_wide else raster(100, 1000)
    starts = [round(tile.start) for tile in cut_into_tiles(image, 100)]
    assert len(starts) == 3

    def find(tile):
        start = starts.pop(0)
        low, high = max(380 - start, 0), min(420 - start, max(tile.size_wh))
        if low >= high:
            return []
        box = Box(low, 30, high, 70) if is_wide else Box(30, low, 70, high)
        return [(Detection(box, 0.9 if high - low == 40 else 0.95), "face")]

    ((detection, item),) = search_tiles(image, 100, find, nms_iou=0.4)
    assert detection.box.xyxy == ((380, 30, 420, 70) if is_wide else (30, 380, 70, 420))
    assert item == "face"


def test_image_of_a_usual_shape_is_one_tile():
    image = raster(400, 100)
    assert search_tiles(image, 64, lambda tile: [(tile is image, None)], nms_iou=0.4) == [
        (True, None)
    ]


def test_min_face_shares_of_the_detectors():
    shares = {name: detector.min_face_share for name, detector in DETECTORS.items()}
    assert shares == {
        "haar": 0.05, "haar_default": 0.0, "single_shot": 0.05, "yunet": 0.05, "none": 1.0,
    }  # fmt: skip
