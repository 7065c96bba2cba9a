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
from app.vision.tiles import MAX_TILES, cut, search_tiles, searched_side
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
    """The photograph, 512 pixels a side with a face of some 95, in a larger grey image."""
    image = np.full((height, width, 3), 128, np.uint8)
    x, y = at
    image[y : y + 512, x : x + 512] = astronaut_bgr
    return cv2.imencode(".png", image)[1].tobytes()


def analyse(engine, data, **options):
    return engine.analyse(analysis_request(data, **options))


@given(SIDES, SIDES)
def test_the_default_is_five_percent_of_the_longer_side_and_less_in_long_images(width, height):
    longer, shorter = max(width, height), min(width, height)
    smallest = default_min_face_px(0.05, width, height)
    assert smallest <= 0.05 * longer  # never more than it was
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
def test_a_face_of_95_pixels_is_found_in_a_wide_or_tall_image(
    engine, astronaut_bgr, options, size_wh, at
):
    found = analyse(engine, canvas(astronaut_bgr, *size_wh, at=at), **options)
    box = found.faces[0].box
    assert abs((box.x1 + box.x2) / 2 - at[0] - 222) < 25
    assert abs((box.y1 + box.y2) / 2 - at[1] - 120) < 30
    assert 75 < box.longer_side < 150
    assert (found.width, found.height) == size_wh


@pytest.mark.parametrize("pipeline", ["two_stage", "single_shot"])
def test_what_a_limit_removes_is_counted(engine, astronaut_bgr, pipeline):
    data = canvas(astronaut_bgr, 2560, 512, at=(512, 0))
    detector = "single_shot" if pipeline == "two_stage" else None
    detection = DetectionOptions(min_face_px=150)
    found = analyse(engine, data, pipeline=pipeline, detector=detector, detection=detection)
    assert found.faces == ()
    assert found.dropped["min_face_px"] >= 1


@pytest.mark.parametrize("left", range(900, 1500, 75))
def test_a_face_at_the_seam_of_two_tiles_is_one_face(engine, astronaut_bgr, left):
    data = canvas(astronaut_bgr, 5120, 512, at=(left, 0))
    found = analyse(
        engine, data, pipeline="single_shot", detection=DetectionOptions(min_confidence=0.6)
    )
    assert len(found.faces) == 1
    assert 75 < found.faces[0].box.longer_side < 150


def raster(width, height):
    return Raster(np.zeros((height, width), np.uint8), (width, height))


def test_a_strip_of_any_length_takes_a_bounded_time():
    """The cascade searches so many pixels by default: of a strip no more than of MAX_ASPECT
    squares."""
    for aspect in (1, 2, 5, 50, 500, 5000):
        width, height = 100 * aspect, 100
        scale = min(1.0, 24 / default_min_face_px(0.05, width, height))
        assert scale**2 * width * height <= 240**2 * MAX_ASPECT


@given(st.integers(1, 3000), st.integers(1, 90), st.booleans(), st.sampled_from([64, 320]))
def test_tiles_cover_the_image_and_hold_every_face_whole(length, breadth, is_wide, square):
    size_wh = (length, breadth) if is_wide else (breadth, length)
    tiles = cut(raster(*size_wh), square)
    assert len(tiles) <= MAX_TILES
    assert tiles[0].start == 0
    assert tiles[-1].end == max(size_wh)
    for before, after in pairwise(tiles):
        assert before.end - after.start >= min(*size_wh, square // 2) - 2
    if max(size_wh) <= max(tiling.MAX_ASPECT * min(size_wh), square):
        assert len(tiles) == 1
    assert searched_side(*size_wh) <= tiling.MAX_ASPECT * min(size_wh)


@pytest.mark.parametrize("is_wide", [True, False])
def test_what_is_found_in_two_tiles_is_told_once_and_parts_are_left_out(is_wide):
    """A face from 380 to 420 along an image of 1000, in tiles from 0 to 400 and from 300 to 700.
    The first one shows half of it, which gets the higher score here."""
    image = raster(1000, 100) if is_wide else raster(100, 1000)
    starts = [round(tile.start) for tile in cut(image, 100)]
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


def test_an_image_of_a_usual_shape_is_searched_as_a_whole():
    image = raster(400, 100)
    assert search_tiles(image, 64, lambda tile: [(tile is image, None)], nms_iou=0.4) == [
        (True, None)
    ]


def test_the_detectors_list_says_what_the_default_is():
    shares = {name: made.min_face_share for name, made in DETECTORS.items()}
    assert shares == {
        "haar": 0.05, "haar_default": 0.0, "single_shot": 0.05, "yunet": 0.05, "none": 1.0,
    }  # fmt: skip
