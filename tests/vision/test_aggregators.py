"""Aggregators: values computed by hand for every aggregator."""

import numpy as np
import pytest

from app.vision.aggregators import AGGREGATORS, DEFAULT, certainty
from app.vision.mood import mood_of
from tests.vision.faces import CROSS, EIGHT, GLAD, LABELS, LEVEL, OTHER_LABELS, THREE, face, two

# The expected results for THREE: weights, distribution, mood.
THIRDS = (1 / 3, 1 / 3, 1 / 3)
BY_HAND = {
    "sum": (THIRDS, (0.3, 0.4, 0.3), "happiness"),
    "mean": (THIRDS, (0.3, 0.4, 0.3), "happiness"),
    # Medians .2 (from GLAD), .3 (from CALM) and .1 (half from CALM, half from GLAD): sum .6.
    "median": ((0.35 / 0.6, 0.25 / 0.6, 0), (0.2 / 0.6, 0.3 / 0.6, 0.1 / 0.6), "happiness"),
    "trimmed": (THIRDS, (0.3, 0.4, 0.3), "happiness"),  # a fifth of three faces rounds to 0
    # .6, .7 and .7, one from each face: sum 2. Two emotions have .35; happiness has the larger
    # mean.
    "max": ((0.3, 0.35, 0.35), (0.3, 0.35, 0.35), "happiness"),
    "vote": (THIRDS, THIRDS, "happiness"),  # a tie; happiness has the largest mean
    # Cube roots of .6·.2·.1, .3·.7·.2 and .1·.1·.7.
    "logpool": (THIRDS, (0.228943, 0.347603, 0.191293), "happiness"),
    "size": ((1 / 7, 4 / 7, 2 / 7), (1.6 / 7, 3.5 / 7, 1.9 / 7), "happiness"),
    "most_negative": ((0, 0, 1), (0.1, 0.2, 0.7), "anger"),
}


@pytest.mark.parametrize("aggregator", BY_HAND)
def test_aggregator_gives_the_values_computed_by_hand(aggregator):
    weights, distribution, expected_mood = BY_HAND[aggregator]
    mood = mood_of(THREE, aggregator)
    expected = np.array(distribution) / sum(distribution)
    assert [each.weight for each in mood.faces] == pytest.approx(weights)
    assert list(mood.distribution) == list(LABELS)
    assert list(mood.distribution.values()) == pytest.approx(expected, abs=1e-6)
    assert (mood.aggregator, mood.mood) == (aggregator, expected_mood)


def test_every_aggregator_has_a_test_by_hand():
    assert {*BY_HAND, "centrality", "quality"} == set(AGGREGATORS)


def test_median_of_an_even_number_of_faces_is_the_mean_of_the_middle_two():
    mood = mood_of(two((0.9, 0.1), (0.8, 0.2), (0.4, 0.6), (0.1, 0.9)), "median")
    assert mood.distribution == pytest.approx({"neutral": 0.6, "happiness": 0.4})
    # .5 · (.8 + .4) and .5 · (.2 + .6): only the two middle faces contribute.
    assert [each.weight for each in mood.faces] == pytest.approx([0, 0.5, 0.5, 0])


def test_trimmed_mean_leaves_out_one_of_five_faces_at_each_end():
    rows = [(0.0, 1.0), (0.5, 0.5), (0.6, 0.4), (0.7, 0.3), (1.0, 0.0)]
    mood = mood_of(two(*rows), "trimmed")
    assert mood.distribution == pytest.approx({"neutral": 0.6, "happiness": 0.4})
    assert [each.weight for each in mood.faces] == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 0])


@pytest.mark.parametrize("aggregator", ["median", "trimmed"])
def test_median_and_trimmed_fall_back_to_the_mean_if_the_sum_is_0(aggregator):
    faces = [face(*row, labels=EIGHT) for row in np.eye(8)[:5]]
    mood = mood_of(faces, aggregator)
    assert list(mood.distribution.values()) == pytest.approx([0.2] * 5 + [0] * 3)
    assert [each.weight for each in mood.faces] == pytest.approx([0.2] * 5)


def test_logpool_is_a_geometric_mean():
    mood = mood_of(two((0.8, 0.2), (0.5, 0.5)), "logpool")  # √.4 and √.1 are as 2 to 1
    assert mood.distribution == pytest.approx({"neutral": 2 / 3, "happiness": 1 / 3})


def test_logpool_keeps_an_emotion_that_one_face_excludes():
    mood = mood_of(two((1.0, 0.0), (0.1, 0.9), (0.1, 0.9)), "logpool")
    low, high = 0.01 ** (1 / 3), (0.01 * 0.81) ** (1 / 3)
    assert mood.distribution["happiness"] == pytest.approx(high / (low + high))


def test_centrality_gives_the_outermost_faces_half_the_weight():
    faces = [face(1, 0, 0, x=0), face(0, 1, 0, x=50), face(0, 0, 1, x=100)]
    mood = mood_of(faces, "centrality")
    assert [each.weight for each in mood.faces] == pytest.approx([0.25, 0.5, 0.25])
    assert list(mood.distribution.values()) == pytest.approx([0.25, 0.5, 0.25])


def test_centrality_gives_equal_weights_to_faces_at_one_position():
    mood = mood_of(LEVEL, "centrality")
    assert [each.weight for each in mood.faces] == pytest.approx(THIRDS)


def test_quality_weights_depend_on_size_score_and_certainty():
    labels = ("neutral", "happiness")
    faces = [
        face(1, 0, size=16, score=0.5, labels=labels),  # 2 · .5 · 1 = 1
        face(0, 1, size=256, labels=labels),  # 4 · 1 · 1 = 4: a missing score counts as 1
        face(0.5, 0.5, size=100, score=1, labels=labels),  # certainty 0
    ]
    mood = mood_of(faces, "quality")
    assert [each.weight for each in mood.faces] == pytest.approx([0.2, 0.8, 0])
    assert mood.distribution == pytest.approx({"neutral": 0.2, "happiness": 0.8})


def test_quality_gives_equal_weights_if_all_certainties_are_0():
    mood = mood_of(two((0.5, 0.5), (0.5, 0.5)), "quality")
    assert [each.weight for each in mood.faces] == pytest.approx([0.5, 0.5])
    assert mood.mood == "neutral"  # a tie goes to the first label
    assert mood.agreement == pytest.approx(0)


def test_most_negative_divides_the_weight_between_tied_faces():
    mood = mood_of([CROSS, face(0.3, 0.0, 0.7), GLAD], "most_negative")
    assert [each.weight for each in mood.faces] == pytest.approx([0.5, 0.5, 0])
    assert mood.distribution == pytest.approx({"neutral": 0.2, "happiness": 0.1, "anger": 0.7})


def test_most_negative_is_the_mean_if_the_model_has_no_label_of_distress():
    faces = [
        face(0.9, 0.1, labels=OTHER_LABELS[:2], size=50),
        face(0.3, 0.7, labels=OTHER_LABELS[:2]),
    ]
    assert mood_of(faces, "most_negative").distribution == mood_of(faces, "mean").distribution


def test_every_aggregator_has_a_title_and_a_description():
    for name, aggregator in AGGREGATORS.items():
        assert aggregator.name == name
        assert aggregator.title
        assert aggregator.description.endswith(".")
    assert len({each.title for each in AGGREGATORS.values()}) == len(AGGREGATORS)
    assert DEFAULT in AGGREGATORS


def test_certainty_is_1_for_one_label_and_0_for_a_uniform_distribution():
    rows = np.array([[1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]])
    assert certainty(rows) == pytest.approx([1, 0, 0.5])
    assert certainty(np.array([1.0])) == 1
