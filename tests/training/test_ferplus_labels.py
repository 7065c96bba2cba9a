"""The protocols of FER+ on votes with known results. Does not need torch."""

import numpy as np

from training.ferplus_labels import (
    clean_votes,
    distribution,
    majority,
    most_voted,
    usable_for_training,
)

# neutral happiness surprise sadness anger disgust fear contempt unknown not-a-face
VOTES = np.array(
    [
        [1, 9, 0, 0, 0, 0, 0, 0, 0, 0],
        [5, 5, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 4, 6],
        [4, 1, 1, 1, 1, 0, 0, 0, 1, 1],
        [0, 0, 3, 0, 0, 0, 7, 0, 0, 0],
    ]
)


def test_clean_votes_removes_single_votes():
    assert clean_votes(VOTES)[0].tolist() == [0, 9, 0, 0, 0, 0, 0, 0, 0, 0]


def test_majority_is_a_strict_majority_of_an_emotion():
    # The second has no strict majority. The third is not a face. The fourth has 4 cleaned votes.
    assert majority(VOTES).tolist() == [1, -1, -1, 0, 6]


def test_most_voted_returns_the_emotion_with_the_most_votes():
    assert most_voted(VOTES).tolist() == [1, 0, -1, 0, 6]


def test_targets_are_distributions_of_cleaned_votes():
    usable = usable_for_training(VOTES)
    assert usable.tolist() == [True, True, False, True, True]
    targets = distribution(VOTES[usable])
    assert targets[1].tolist() == [0.5, 0.5, 0, 0, 0, 0, 0, 0]
    assert targets.sum(axis=1).tolist() == [1, 1, 1, 1]


def test_five_classes_leave_out_images_of_the_other_three():
    usable = usable_for_training(VOTES, classes=5)
    assert usable.tolist() == [True, True, False, True, False]
    assert distribution(VOTES[usable], classes=5).tolist() == [
        [0, 1, 0, 0, 0],
        [0.5, 0.5, 0, 0, 0],
        [1, 0, 0, 0, 0],
    ]
