"""FER+'s classes and protocols: what ten votes on a face mean (Barsoum et al., arXiv 1608.01041).

Votes are (n, 10) counts: one column for each of LABELS, then "unknown" and "not a face".
"""

import numpy as np
from numpy.typing import NDArray

LABELS = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
)
VOTE_COLUMNS = len(LABELS) + 2


def clean_votes(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The authors' rule: a single vote is an outlier and counts as none."""
    return np.where(votes > 1, votes, 0)


def majority(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class of each row under the majority protocol, -1 where a row is left out.

    A row counts when one class has more than half of the cleaned votes and is an emotion.
    """
    cleaned = clean_votes(votes)
    top = cleaned.argmax(axis=1)
    strict = 2 * cleaned.max(axis=1) > cleaned.sum(axis=1)
    return np.where(strict & (top < len(LABELS)), top, -1)


def most_voted(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class of each row under the all-pictures protocol, -1 where no emotion has a vote.

    The emotion with most raw votes, the first in FER+ order where two have as many.
    """
    emotions = votes[:, : len(LABELS)]
    return np.where(emotions.sum(axis=1) > 0, emotions.argmax(axis=1), -1)


PROTOCOLS = {"majority": majority, "all": most_voted}


def distribution(votes: NDArray[np.int64], *, classes: int = len(LABELS)) -> NDArray[np.float32]:
    """Training targets (n, classes): cleaned votes over the first `classes` emotions, each row
    summing to 1. Only for rows that are `usable_for_training`."""
    emotions = clean_votes(votes)[:, :classes].astype(np.float32)
    return emotions / emotions.sum(axis=1, keepdims=True)


def usable_for_training(
    votes: NDArray[np.int64], *, classes: int = len(LABELS)
) -> NDArray[np.bool_]:
    """Rows with at least three cleaned votes for the first `classes` emotions, one of which has
    the most votes of all."""
    cleaned = clean_votes(votes)
    emotion_votes = cleaned[:, :classes].sum(axis=1)
    return (emotion_votes >= 3) & (cleaned.argmax(axis=1) < classes)
