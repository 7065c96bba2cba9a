"""FER+'s protocols by hand-worked votes. Needs no torch."""

import numpy as np

from training.votes import clean_votes, distribution, majority, most_voted, usable_for_training

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


def test_single_votes_are_outliers():
    assert clean_votes(VOTES)[0].tolist() == [0, 9, 0, 0, 0, 0, 0, 0, 0, 0]


def test_majority_is_strict_and_an_emotion():
    # The second has no strict majority, the third is no face; of the fourth only 4 are left.
    assert majority(VOTES).tolist() == [1, -1, -1, 0, 6]


def test_all_pictures_take_the_most_voted_emotion():
    assert most_voted(VOTES).tolist() == [1, 0, -1, 0, 6]


def test_targets_are_distributions_of_cleaned_votes():
    usable = usable_for_training(VOTES)
    assert usable.tolist() == [True, True, False, True, True]
    targets = distribution(VOTES[usable])
    assert targets[1].tolist() == [0.5, 0.5, 0, 0, 0, 0, 0, 0]
    assert targets.sum(axis=1).tolist() == [1, 1, 1, 1]


def test_five_classes_leave_out_pictures_of_the_other_three():
    usable = usable_for_training(VOTES, classes=5)
    assert usable.tolist() == [True, True, False, True, False]
    assert distribution(VOTES[usable], classes=5).tolist() == [
        [0, 1, 0, 0, 0],
        [0.5, 0.5, 0, 0, 0],
        [1, 0, 0, 0, 0],
    ]
