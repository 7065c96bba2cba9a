"""Group mood: agreement, valence, excluded faces, properties of all aggregators, overall mood."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.vision.aggregators import AGGREGATORS, DEFAULT, Group
from app.vision.mood import Mood, MoodAccumulator, OverallMood, mood_of
from app.vision.types import Box, Face, Scores
from tests.vision.faces import CALM, CROSS, EIGHT, GLAD, LABELS, OTHER_LABELS, THREE, face, two


def test_mood_has_agreement_valence_shares_and_faces():
    mood = mood_of(THREE, "mean")
    entropy = -sum(p * math.log(p) for p in (0.3, 0.4, 0.3))
    assert mood.agreement == pytest.approx(1 - entropy / math.log(3))
    assert mood.valence == pytest.approx({"positive": 0.4, "neutral": 0.3, "negative": 0.3})
    assert mood.shares == pytest.approx(dict.fromkeys(LABELS, 1 / 3))
    assert [(each.number, each.dominant) for each in mood.faces] == [
        (1, "neutral"),
        (2, "happiness"),
        (3, "anger"),
    ]
    assert mood.left_out == ()


def test_agreement_is_the_same_for_every_aggregator():
    assert {mood_of(THREE, each).agreement for each in AGGREGATORS} == {mood_of(THREE).agreement}


@pytest.mark.parametrize("aggregator", sorted(AGGREGATORS.keys() - {"most_negative"}))
def test_mood_of_two_faces_in_perfect_disagreement(aggregator):
    faces = [face(*row, labels=EIGHT) for row in np.eye(8)[[4, 1]]]
    mood = mood_of(faces, aggregator)
    assert mood.mood == "happiness"  # before anger in the model's order
    assert mood.agreement == pytest.approx(1 - math.log(2) / math.log(8))
    assert mood.valence == pytest.approx(
        {"positive": mood.distribution["happiness"]}
        | {"neutral": mood.distribution["neutral"] + mood.distribution["surprise"]}
        | {"negative": sum(list(mood.distribution.values())[3:])}
    )


def test_surprise_has_neutral_valence():
    mood = mood_of([face(*np.eye(8)[2], labels=EIGHT)])
    assert mood.valence == {"positive": 0, "neutral": 1, "negative": 0}


def test_mood_of_a_model_with_five_classes_has_a_valence():
    mood = mood_of([face(0.1, 0.2, 0.3, 0.3, 0.1, labels=EIGHT[:5])], "most_negative")
    assert mood.valence == pytest.approx({"positive": 0.2, "neutral": 0.4, "negative": 0.4})
    assert list(mood.distribution) == list(EIGHT[:5])


def test_unknown_emotion_does_not_contribute_to_valence():
    mood = mood_of([face(0.5, 0.3, 0.2, labels=("awe", "happiness", "fear"))])
    assert mood.mood == "awe"
    assert mood.valence == pytest.approx({"positive": 0.3, "neutral": 0, "negative": 0.2})


def test_agreement_of_a_model_with_one_class_is_1():
    assert mood_of([face(1.0, labels=("joy",))], "quality").agreement == 1


def test_excluded_faces_are_listed_with_the_reason():
    faces = [face(1, 0, 0, size=23.9, score=0.9), CROSS, GLAD, face(0, 1, 0, size=24, score=0.69)]
    mood = mood_of(faces, min_face_px=24, min_confidence=0.7)
    assert [each.number for each in mood.faces] == [3]  # passes, because it has no score
    assert [(each.number, each.reason) for each in mood.left_out] == [
        (1, "min_face_px"),
        (2, "min_face_px"),
        (4, "min_confidence"),
    ]
    assert dict(mood.distribution) == pytest.approx(dict(GLAD.emotions))


def test_face_exactly_at_the_limits_passes():
    mood = mood_of([face(1, 0, 0, size=24, score=0.7)], min_face_px=24, min_confidence=0.7)
    assert mood.mood == "neutral"


def test_min_face_px_applies_to_the_longer_side():
    tall = Face(Box(0, 0, 10, 30), GLAD.emotions)
    assert mood_of([tall], min_face_px=30).mood == "happiness"


def test_mood_is_none_without_a_usable_face():
    assert mood_of([]) == Mood(DEFAULT)
    mood = mood_of([CALM], "size", min_face_px=11)
    assert (mood.mood, mood.agreement, mood.aggregator) == (None, None, "size")
    assert mood.distribution == mood.valence == mood.shares == {}
    assert mood.faces == ()
    assert [(each.number, each.reason) for each in mood.left_out] == [(1, "min_face_px")]


def test_distribution_is_normalised():
    mood = mood_of([face(0.5, 0.2, 0.3009)])
    assert math.fsum(mood.distribution.values()) == pytest.approx(1, abs=1e-12)


@st.composite
def groups(draw):
    classes = draw(st.sampled_from([2, 5, 8]))
    # Few different values, so that there are ties and zeros.
    values = st.sampled_from([0.0, 0.0, 0.1, 1.0]) | st.floats(0, 1)
    rows = st.lists(values, min_size=classes, max_size=classes).filter(lambda row: sum(row) > 1e-3)
    faces = []
    for row in draw(st.lists(rows, min_size=1, max_size=9)):
        x, side = draw(st.floats(0, 500)), draw(st.floats(1, 300))
        score = draw(st.none() | st.floats(0, 1))
        probabilities = (value / math.fsum(row) for value in row)
        faces.append(face(*probabilities, x=x, size=side, score=score, labels=EIGHT[:classes]))
    return faces


each_aggregator = pytest.mark.parametrize("aggregator", AGGREGATORS)
few_examples = settings(max_examples=40, deadline=None)


@each_aggregator
@few_examples
@given(faces=groups())
def test_weights_and_distribution_sum_to_1(aggregator, faces):
    weights, distribution = AGGREGATORS[aggregator].pool(Group.of(faces))
    for shares in (weights, distribution):
        assert (shares >= 0).all()
        assert shares.sum() == pytest.approx(1)
    mood = mood_of(faces, aggregator)
    assert math.fsum(mood.valence.values()) == pytest.approx(1)
    assert math.fsum(mood.shares.values()) == pytest.approx(1)
    assert 0 <= mood.agreement <= 1


@each_aggregator
@few_examples
@given(faces=groups(), rng=st.randoms(use_true_random=False))
def test_mood_does_not_depend_on_the_order_of_the_faces(aggregator, faces, rng):
    order = list(range(len(faces)))
    rng.shuffle(order)
    one, other = mood_of(faces, aggregator), mood_of([faces[i] for i in order], aggregator)
    assert one.mood == other.mood
    assert one.distribution == pytest.approx(other.distribution, abs=1e-9)
    assert one.agreement == pytest.approx(other.agreement)
    weights = [each.weight for each in one.faces]
    assert [each.weight for each in other.faces] == pytest.approx(
        [weights[index] for index in order], abs=1e-9
    )


@each_aggregator
@few_examples
@given(faces=groups())
def test_mood_of_one_face_is_its_distribution(aggregator, faces):
    mood = mood_of(faces[:1], aggregator)
    assert [each.weight for each in mood.faces] == pytest.approx([1])
    own = faces[0].emotions
    assert own[mood.mood] == pytest.approx(max(own.values()))
    if aggregator == "vote":
        assert mood.distribution == {label: float(label == mood.mood) for label in own}
    else:
        tolerance = 8 * 0.01 if aggregator == "logpool" else 1e-9
        assert dict(mood.distribution) == pytest.approx(dict(own), abs=tolerance)


@few_examples
@given(faces=groups(), min_face_px=st.floats(0, 400), min_confidence=st.floats(0, 1))
def test_every_face_is_weighted_or_excluded(faces, min_face_px, min_confidence):
    mood = mood_of(faces, min_face_px=min_face_px, min_confidence=min_confidence)
    numbers = [each.number for each in (*mood.faces, *mood.left_out)]
    assert sorted(numbers) == list(range(1, len(faces) + 1))


def independent(**scores):
    return Face(Box(0, 0, 20, 20), Scores(scores, exclusive=False))


@each_aggregator
def test_faces_with_independent_scores_are_excluded_with_the_reason(aggregator):
    """Also if the scores happen to sum to 1."""
    faces = [independent(happiness=0.9, anger=0.8), independent(happiness=0.6, anger=0.4)]
    mood = mood_of(faces, aggregator)
    assert mood == Mood(aggregator, left_out=mood.left_out)
    assert [(each.number, each.reason) for each in mood.left_out] == [
        (1, "not_exclusive"),
        (2, "not_exclusive"),
    ]


def test_filters_apply_before_the_check_of_exclusive_scores():
    mood = mood_of([independent(happiness=0.9)], min_face_px=30)
    assert [each.reason for each in mood.left_out] == ["min_face_px"]


def test_group_of_independent_scores_raises_value_error():
    with pytest.raises(ValueError, match="exclusive"):
        Group.of([independent(happiness=0.6, anger=0.4)])


def test_image_with_independent_scores_does_not_change_the_overall_mood():
    moods = MoodAccumulator()
    moods.add(mood_of([independent(happiness=0.9, anger=0.8)]))
    assert moods.overall() == OverallMood()


@each_aggregator
def test_mood_works_with_any_labels(aggregator):
    """VALENCE lists none of the labels, so `valence` is 0."""
    faces = [
        face(0.1, 0.6, 0.1, 0.05, 0.05, 0.05, 0.05, labels=OTHER_LABELS, x=100, size=30),
        face(0.2, 0.5, 0.1, 0.05, 0.05, 0.05, 0.05, labels=OTHER_LABELS),
    ]
    mood = mood_of(faces, aggregator)
    assert mood.mood == "calm"
    assert list(mood.distribution) == list(OTHER_LABELS)
    assert math.fsum(mood.distribution.values()) == pytest.approx(1)
    assert mood.valence == {"positive": 0, "neutral": 0, "negative": 0}
    assert mood.shares == {label: float(label == "calm") for label in OTHER_LABELS}


def test_overall_mood_gives_images_equal_weights():
    moods = MoodAccumulator()
    moods.add(mood_of(two((1.0, 0.0), (0.8, 0.2), (0.9, 0.1)), "mean"))  # .9 and .1
    moods.add(mood_of(two((0.2, 0.8))))
    moods.add(mood_of([]))
    overall = moods.overall()
    assert (overall.images, overall.mood) == (2, "neutral")
    assert overall.distribution == pytest.approx({"happiness": 0.45, "neutral": 0.55})
    assert overall.shares == {"happiness": 0.5, "neutral": 0.5}
    assert overall.valence == pytest.approx({"positive": 0.45, "neutral": 0.55, "negative": 0})
    entropy = -sum(p * math.log(p) for p in (0.45, 0.55))
    assert overall.agreement == pytest.approx(1 - entropy / math.log(2))


def test_overall_mood_combines_models_with_different_emotions():
    moods = MoodAccumulator()
    moods.add(mood_of(two((0.0, 1.0))))
    moods.add(mood_of([face(*np.eye(8)[6], labels=EIGHT)]))
    overall = moods.overall()
    assert overall.distribution == {e: 0.5 * (e in ("happiness", "fear")) for e in sorted(EIGHT)}
    assert overall.mood == "fear"  # a tie; the first in alphabetical order


def test_overall_mood_of_a_tie_is_the_mood_of_more_images():
    moods = MoodAccumulator()
    for row in ((0.6, 0.4), (0.6, 0.4), (0.3, 0.7)):
        moods.add(mood_of(two(row)))
    assert moods.overall().mood == "neutral"  # both have the probability .5


def test_overall_mood_is_empty_without_images():
    assert MoodAccumulator().overall() == OverallMood()
