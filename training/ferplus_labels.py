"""The emotions of FER+, and labels from its votes (Barsoum et al. 2016, arXiv 1608.01041).

Ten people voted on each face. Votes are counts (n, 10): one column for each of LABELS, then
"unknown" and "not a face".
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
    """Remove single votes, which the authors treat as outliers."""
    return np.where(votes > 1, votes, 0)


def majority(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the class of each row under the majority protocol: an emotion with more than half of
    the cleaned votes, or -1 if there is none."""
    cleaned = clean_votes(votes)
    top = cleaned.argmax(axis=1)
    strict = 2 * cleaned.max(axis=1) > cleaned.sum(axis=1)
    return np.where(strict & (top < len(LABELS)), top, -1)


def most_voted(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the emotion with the most votes of each row, or -1 if no emotion has a vote. Of
    emotions with equally many votes, it is the first of LABELS."""
    emotions = votes[:, : len(LABELS)]
    return np.where(emotions.sum(axis=1) > 0, emotions.argmax(axis=1), -1)


PROTOCOLS = {"majority": majority, "all": most_voted}


def distribution(votes: NDArray[np.int64], *, classes: int = len(LABELS)) -> NDArray[np.float32]:
    """Return targets (n, classes): the distribution of the cleaned votes over the first `classes`
    emotions. All rows must be `usable_for_training`."""
    emotions = clean_votes(votes)[:, :classes].astype(np.float32)
    return emotions / emotions.sum(axis=1, keepdims=True)


def usable_for_training(
    votes: NDArray[np.int64], *, classes: int = len(LABELS)
) -> NDArray[np.bool_]:
    """Return which rows have at least three cleaned votes for the first `classes` emotions, and the
    most votes for one of them."""
    cleaned = clean_votes(votes)
    emotion_votes = cleaned[:, :classes].sum(axis=1)
    return (emotion_votes >= 3) & (cleaned.argmax(axis=1) < classes)
