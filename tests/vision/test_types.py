import math
from dataclasses import FrozenInstanceError
from datetime import datetime

import pytest

from app.vision.types import (
    Analysis,
    Box,
    Detection,
    Dimensions,
    Face,
    Frame,
    ModelRef,
    Person,
    PersonModel,
    Scores,
)

BOX = Box(1, 2, 11, 22)
MIDDLE = Dimensions(5.0, 5.0, 5.0)


def test_box_has_width_height_area_and_corners():
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
def test_empty_or_infinite_box_raises_value_error(corners):
    with pytest.raises(ValueError, match="box"):
        Box(*corners)


@pytest.mark.parametrize("score", [-0.1, 1.1, math.nan])
def test_detection_score_outside_0_to_1_raises_value_error(score):
    with pytest.raises(ValueError, match="score"):
        Detection(BOX, score)


@pytest.mark.parametrize(
    "probabilities",
    [{}, {"a": 0.5}, {"a": 1.2, "b": -0.2}, {"a": math.nan, "b": 1.0}, {"a": 0.7, "b": 0.7}],
)
def test_exclusive_scores_that_are_not_a_distribution_raise_value_error(probabilities):
    with pytest.raises(ValueError, match="scores"):
        Scores(probabilities)


@pytest.mark.parametrize("values", [{}, {"a": 1.2}, {"a": -0.1}, {"a": math.nan}])
def test_independent_scores_outside_0_to_1_raise_value_error(values):
    with pytest.raises(ValueError, match="scores"):
        Scores(values, exclusive=False)


def test_independent_scores_need_not_sum_to_1():
    scores = Scores({"Peace": 0.9, "Doubt/Confusion": 0.8, "Anger": 0.006}, exclusive=False)
    assert scores.highest == "Peace"
    assert scores.rounded(0.5) == {"Peace": 0.9, "Doubt/Confusion": 0.8}
    assert scores.rounded(0.01) == {"Peace": 0.9, "Doubt/Confusion": 0.8, "Anger": 0.01}


def test_exclusive_and_independent_scores_are_not_equal():
    same = {"a": 0.5, "b": 0.5}
    assert Scores(same) == Scores(same)
    assert Scores(same) != Scores(same, exclusive=False)


def test_dominant_emotion_of_a_tie_is_the_first_label():
    assert Face(BOX, Scores({"b": 0.4, "a": 0.4, "c": 0.2})).dominant == "b"


@pytest.mark.parametrize("value", [0.9, 10.1, math.nan])
@pytest.mark.parametrize("name", ["valence", "arousal", "dominance"])
def test_dimension_outside_1_to_10_raises_value_error(name, value):
    with pytest.raises(ValueError, match=name):
        Dimensions(**{"valence": 5.0, "arousal": 5.0, "dominance": 5.0} | {name: value})


@pytest.mark.parametrize(("position_ms", "index"), [(-1, 0), (0, -1)])
def test_frame_before_the_start_raises_value_error(position_ms, index):
    with pytest.raises(ValueError, match="start"):
        Frame("job", position_ms, index)


def test_face_is_immutable():
    scores = {"a": 0.25, "b": 0.75}
    face = Face(BOX, Scores(scores))
    scores["a"] = 0.9
    assert face.emotions["a"] == 0.25
    with pytest.raises(TypeError):
        face.emotions["a"] = 0.5
    with pytest.raises(FrozenInstanceError):
        face.box = Box(0, 0, 1, 1)


@pytest.mark.parametrize(
    "invalid",
    [
        {"threshold": 1.5},
        {"threshold": math.nan},
        {"width": 0},
        {"created_at": datetime(2026, 1, 1)},
        {"persons": (Person(BOX, Scores({"Peace": 0.9}, exclusive=False), MIDDLE, face=0),)},
    ],
)
def test_invalid_analysis_raises_value_error(invalid):
    valid = {
        "file_name": "a.jpg",
        "threshold": 0.5,
        "width": 10,
        "height": 10,
        "faces": (),
        "model": ModelRef("m", "1", "0" * 64),
        "detector": "haar",
    }
    Analysis(**valid)
    (name,) = invalid
    with pytest.raises(ValueError, match={"width": "size", "persons": "face"}.get(name, name)):
        Analysis(**valid | invalid)


def test_person_model_shows_categories_that_reach_their_threshold():
    model = PersonModel(ModelRef("context", "1", "0" * 64), {"Peace": 0.3, "Pain": 0})
    assert model.shows("Peace", 0.3)
    assert not model.shows("Peace", 0.299)
    assert model.shows("Pain", 0)
    assert not model.shows("Anger", 1)  # no threshold
    with pytest.raises(ValueError, match=r"thresholds must be in \[0, 1\]"):
        PersonModel(model.ref, {"Peace": 1.1})


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_category_threshold_outside_0_to_1_raises_value_error(threshold):
    with pytest.raises(ValueError, match="category_threshold must be"):
        Analysis(
            file_name="a.jpg",
            threshold=0.5,
            width=20,
            height=30,
            faces=(),
            model=ModelRef("net_8", "1.0", "0" * 64),
            detector="haar",
            category_threshold=threshold,
        )
