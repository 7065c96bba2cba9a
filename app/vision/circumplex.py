"""Valence and arousal of faces, from the probabilities of their emotions.

Not to be confused with the `valence` of a group's mood, which sums a distribution by three groups
of emotions: see app.vision.mood.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Affect(NamedTuple):
    """How pleasant (`valence`) and how excited (`arousal`) an expression is, from −1 to 1."""

    valence: float
    arousal: float


# Mean ratings of pleasure and arousal of the terms happy, surprised, sad, angry, disgust, fearful
# and contempt: J. A. Russell and A. Mehrabian (1977), "Evidence for a three-factor theory of
# emotions", Journal of Research in Personality 11, 273-294, table 4. They rated no "neutral". It is
# the origin of the circumplex here (Russell 1980, "A circumplex model of affect", Journal of
# Personality and Social Psychology 39, 1161-1178).
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


def affect_of(probabilities: Mapping[str, float]) -> Affect | None:
    """The expectation of COORDINATES over a distribution. None where it has an emotion without
    coordinates."""
    return mean_affect([probabilities])


def mean_affect(sums: Iterable[Mapping[str, float]]) -> Affect | None:
    """The mean of `affect_of` over many faces, from the sums of their probabilities for each model.

    Faces of a model that has an emotion without coordinates are left out. None without any others.
    """
    known = [its for its in sums if its.keys() <= COORDINATES.keys()]
    faces = sum(value for its in known for value in its.values())  # those of a face sum to 1
    if faces < 0.5:  # none: what was added and subtracted may miss by the last digit
        return None
    valence, arousal = (
        sum(value * COORDINATES[emotion][axis] for its in known for emotion, value in its.items())
        / faces
        for axis in (0, 1)
    )
    return Affect(min(max(valence, -1.0), 1.0), min(max(arousal, -1.0), 1.0))
