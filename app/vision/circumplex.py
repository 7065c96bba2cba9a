"""Valence and arousal of faces, computed from the probabilities of the emotions.

Valence and arousal are expectations, so they are defined for exclusive scores only. The `valence`
of a group's mood is a different quantity: it contains the sums of the positive, neutral and
negative emotions. See app.vision.mood.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from app.vision.types import Scores


class Affect(NamedTuple):
    """Pleasantness (`valence`) and excitement (`arousal`) of an expression, from −1 to 1."""

    valence: float
    arousal: float


# Mean ratings of pleasure and arousal of the terms happy, surprised, sad, angry, disgust, fearful
# and contempt: J. A. Russell and A. Mehrabian (1977), "Evidence for a three-factor theory of
# emotions", Journal of Research in Personality 11, 273-294, table 4. The table does not rate
# "neutral". This module puts "neutral" at the origin, as in the circumplex of Russell (1980), "A
# circumplex model of affect", Journal of Personality and Social Psychology 39, 1161-1178.
COORDINATES = {
    "neutral": Affect(0.0, 0.0),
    "happiness": Affect(0.81, 0.51),
    "surprise": Affect(0.40, 0.67),
    "sadness": Affect(-0.63, -0.27),
    "anger": Affect(-0.51, 0.59),
    "disgust": Affect(-0.60, 0.35),
    "fear": Affect(-0.64, 0.60),
    "contempt": Affect(-0.23, 0.31),
}


def affect_of(scores: Scores) -> Affect | None:
    """Return the mean of COORDINATES, weighted by the probabilities of the emotions. Returns None
    if the scores are not exclusive or an emotion has no coordinates."""
    return mean_affect([scores]) if scores.exclusive else None


def mean_affect(sums: Iterable[Mapping[str, float]]) -> Affect | None:
    """The mean of `affect_of` over many faces.

    `sums` holds, for each model, the sums of the probabilities of its faces with exclusive scores
    by emotion. Models that have an emotion without coordinates are excluded. Returns None if no
    face is left.
    """
    known = [by_emotion for by_emotion in sums if by_emotion.keys() <= COORDINATES.keys()]
    # The probabilities of each face sum to 1, so the sum over all faces is the number of faces.
    faces = sum(value for by_emotion in known for value in by_emotion.values())
    if faces < 0.5:  # no faces; rounding errors can make the sums differ from 0
        return None
    valence, arousal = (
        sum(
            value * COORDINATES[name][axis]
            for by_emotion in known
            for name, value in by_emotion.items()
        )
        / faces
        for axis in (0, 1)
    )
    return Affect(min(max(valence, -1.0), 1.0), min(max(arousal, -1.0), 1.0))
