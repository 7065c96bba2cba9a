import math
from dataclasses import FrozenInstanceError
from datetime import datetime

import pytest

from app.vision.types import Analysis, Box, Detection, Face, ModelRef

BOX = Box(1, 2, 11, 22)


def test_a_box_measures_its_sides_up_to_the_exclusive_corner():
    assert (BOX.width, BOX.height, BOX.area, BOX.xyxy) == (10, 20, 200, (1, 2, 11, 22))


@pytest.mark.parametrize(
    "corners",
    [
        (5, 0, 5, 9),  # no width
        (0, 9, 5, 9),  # no height
        (9, 0, 5, 9),  # corners swapped
        (math.nan, 0, 5, 9),
        (0, 0, math.inf, 9),
    ],
)
def test_a_box_without_an_area_is_refused(corners):
    with pytest.raises(ValueError, match="box"):
        Box(*corners)


@pytest.mark.parametrize("score", [-0.1, 1.1, math.nan])
def test_a_detection_score_is_a_probability(score):
    with pytest.raises(ValueError, match="score"):
        Detection(BOX, score)


@pytest.mark.parametrize(
    "probabilities",
    [{}, {"a": 0.5}, {"a": 1.2, "b": -0.2}, {"a": math.nan, "b": 1.0}, {"a": 0.7, "b": 0.7}],
)
def test_a_face_holds_a_distribution(probabilities):
    with pytest.raises(ValueError, match="probabilities"):
        Face(BOX, probabilities)


def test_equal_emotions_are_decided_by_the_models_order():
    assert Face(BOX, {"b": 0.4, "a": 0.4, "c": 0.2}).dominant == "b"


def test_a_face_cannot_be_changed_afterwards():
    given = {"a": 0.25, "b": 0.75}
    face = Face(BOX, given)
    given["a"] = 0.9
    assert face.probabilities["a"] == 0.25
    with pytest.raises(TypeError):
        face.probabilities["a"] = 0.5
    with pytest.raises(FrozenInstanceError):
        face.box = Box(0, 0, 1, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 1.5},
        {"threshold": math.nan},
        {"width": 0},
        {"created_at": datetime(2026, 1, 1)},
    ],
)
def test_an_analysis_is_validated(wrong):
    right = {
        "file_name": "a.jpg",
        "threshold": 0.5,
        "width": 10,
        "height": 10,
        "faces": (),
        "model": ModelRef("m", "1", "0" * 64),
        "detector": "haar",
    }
    Analysis(**right)
    with pytest.raises(ValueError, match=next(iter(wrong)) if "width" not in wrong else "size"):
        Analysis(**right | wrong)
