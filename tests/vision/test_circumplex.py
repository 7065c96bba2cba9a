"""Valence and arousal from the probabilities of emotions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.vision.circumplex import COORDINATES, Affect, affect_of, mean_affect
from app.vision.mood import VALENCE
from app.vision.types import Scores
from tests.conftest import LABELS


@st.composite
def distributions(draw, labels=LABELS):
    values = draw(st.lists(st.floats(0.001, 1), min_size=len(labels), max_size=len(labels)))
    return Scores({label: value / sum(values) for label, value in zip(labels, values, strict=True)})


def test_coordinates_are_the_published_ones():
    """Russell and Mehrabian 1977, table 4."""
    assert set(COORDINATES) == set(LABELS) == set(VALENCE)
    assert COORDINATES["happiness"] == (0.81, 0.51)
    assert COORDINATES["anger"] == (-0.51, 0.59)
    assert COORDINATES["sadness"] == (-0.63, -0.27)
    assert COORDINATES["surprise"] == (0.40, 0.67)
    assert COORDINATES["disgust"] == (-0.60, 0.35)
    assert COORDINATES["fear"] == (-0.64, 0.60)
    assert COORDINATES["contempt"] == (-0.23, 0.31)
    assert COORDINATES["neutral"] == (0, 0)


@pytest.mark.parametrize("emotion", LABELS)
def test_face_with_probability_1_has_the_coordinates_of_the_emotion(emotion):
    scores = dict.fromkeys(LABELS, 0.0) | {emotion: 1.0}
    assert affect_of(Scores(scores)) == pytest.approx(COORDINATES[emotion])


def test_affect_is_the_expectation_over_the_emotions():
    affect = affect_of(Scores({"happiness": 0.5, "anger": 0.25, "neutral": 0.25}))
    assert affect == pytest.approx((0.5 * 0.81 - 0.25 * 0.51, 0.5 * 0.51 + 0.25 * 0.59))


def test_affect_exists_only_if_all_emotions_have_coordinates():
    assert affect_of(Scores(dict.fromkeys(LABELS[:5], 0.2))) is not None
    assert affect_of(Scores({"happiness": 0.9, "boredom": 0.1})) is None
    assert affect_of(Scores({"face": 0.9, "other": 0.1})) is None
    assert affect_of(Scores({"happiness": 0.9, "boredom": 0.0, "anger": 0.1})) is None


@pytest.mark.parametrize("labels", [("happiness", "anger"), ("happiness", "fear", "neutral")])
def test_independent_scores_have_no_affect(labels):
    """Even if they happen to sum to 1."""
    scores = dict.fromkeys(labels, 1 / len(labels))
    assert affect_of(Scores(scores)) is not None
    assert affect_of(Scores(scores, exclusive=False)) is None
    assert affect_of(Scores(dict.fromkeys(labels, 0.9), exclusive=False)) is None


@given(distributions())
def test_affect_is_within_the_range_of_the_coordinates(probabilities):
    affect = affect_of(probabilities)
    assert -0.64 <= affect.valence <= 0.81
    assert -0.27 <= affect.arousal <= 0.67


@given(st.lists(distributions(), min_size=1, max_size=5), st.lists(distributions(LABELS[:5])))
def test_mean_affect_of_sums_equals_the_mean_over_the_faces(eights, fives):
    def sums(faces, labels):
        return {label: sum(face[label] for face in faces) for label in labels}

    affects = [affect_of(face) for face in (*eights, *fives)]
    mean = mean_affect([sums(eights, LABELS), sums(fives, LABELS[:5]), {"boredom": 3.0}])
    for axis in (0, 1):
        expected = sum(affect[axis] for affect in affects) / len(affects)
        assert mean[axis] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("sums", [[], [{}], [{"boredom": 2.0}], [{"anger": -1e-12, "fear": 1e-13}]])
def test_mean_affect_is_none_without_faces(sums):
    assert mean_affect(sums) is None


def test_mean_affect_stays_in_range_despite_rounding_errors():
    assert mean_affect([{"happiness": 1.0 + 1e-12, "anger": -1e-12}]) <= Affect(1, 1)
