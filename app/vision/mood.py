"""The mood of a group, computed from the scores of its faces, without pixels.

An aggregator pools the distributions of the faces into one: see app.vision.aggregators. Only faces
with exclusive scores have a distribution; others are left out. Where emotions are equally probable
(to nine decimals), the mood is the one with the larger mean over the faces, then the first in the
model's order.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from app.vision.aggregators import AGGREGATORS, DEFAULT, Array, Group, certainty
from app.vision.types import Face

# Happiness is the one pleasant expression of FER+'s eight. Surprise is neither: what people see in
# it, good or bad, depends on them and on what they know of its cause (Kim et al. 2004, J. Cogn.
# Neurosci. 16; Neta, Davis & Whalen 2011, Emotion 11).
VALENCE = {
    "neutral": "neutral",
    "happiness": "positive",
    "surprise": "neutral",
    "sadness": "negative",
    "anger": "negative",
    "disgust": "negative",
    "fear": "negative",
    "contempt": "negative",
}
NOT_EXCLUSIVE = "not_exclusive"  # a reason to leave a face out, beside the names of the filters
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class WeightedFace:
    """A face that counts. `number` counts from 1 within the image."""

    number: int
    weight: float
    dominant: str


@dataclass(frozen=True, slots=True)
class ExcludedFace:
    """A face that does not count. `reason` is the filter that it does not pass, or
    NOT_EXCLUSIVE."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Mood:
    """The mood of a group; None, with empty mappings, if no face counts.

    `agreement` is the certainty of the plain mean over the faces, whatever the aggregator: 1 if all
    faces surely show the same emotion. `valence` sums the distribution by VALENCE; emotions that it
    does not list are left out. `shares` are of the faces, by their most probable emotion.
    """

    aggregator: str
    mood: str | None = None
    distribution: Mapping[str, float] = field(default_factory=dict)
    agreement: float | None = None
    valence: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    faces: tuple[WeightedFace, ...] = ()
    left_out: tuple[ExcludedFace, ...] = ()


def mood_of(
    faces: Sequence[Face],
    aggregator: str = DEFAULT,
    *,
    min_face_px: float = 0.0,
    min_confidence: float = 0.0,
) -> Mood:
    """The mood of the faces of one image.

    Leaves out faces whose longer side is under `min_face_px` pixels, faces whose detection score is
    under `min_confidence` (a face without a score passes), and faces whose scores are not
    exclusive. Raises KeyError for an unknown aggregator.
    """
    pool = AGGREGATORS[aggregator].pool
    used: dict[int, Face] = {}
    left_out = []
    for number, face in enumerate(faces, start=1):
        if face.box.longer_side < min_face_px:
            left_out.append(ExcludedFace(number, "min_face_px"))
        elif face.detection_score is not None and face.detection_score < min_confidence:
            left_out.append(ExcludedFace(number, "min_confidence"))
        elif not face.emotions.exclusive:
            left_out.append(ExcludedFace(number, NOT_EXCLUSIVE))
        else:
            used[number] = face
    if not used:
        return Mood(aggregator, left_out=tuple(left_out))
    group = Group.of(list(used.values()))
    weights, pooled = pool(group)
    average = group.probabilities.mean(axis=0)
    distribution = dict(zip(group.labels, pooled.tolist(), strict=True))
    dominants = Counter(face.dominant for face in used.values())
    return Mood(
        aggregator,
        mood=group.labels[_first(pooled, average)],
        distribution=distribution,
        agreement=float(certainty(average)),
        valence=_valence(distribution),
        shares={label: dominants[label] / len(used) for label in group.labels},
        faces=tuple(
            WeightedFace(number, weight, face.dominant)
            for (number, face), weight in zip(used.items(), weights.tolist(), strict=True)
        ),
        left_out=tuple(left_out),
    )


@dataclass(frozen=True, slots=True)
class OverallMood:
    """The mood over many images: the mean of their distributions. Each of the `images` that have a
    mood counts alike, however many faces it has. An emotion that an image's model does not have
    counts as 0. `shares` are of the images, by their mood.

    Where emotions are equally probable, the mood is that of more images, then the first in the
    alphabet.
    """

    images: int = 0
    mood: str | None = None
    distribution: Mapping[str, float] = field(default_factory=dict)
    agreement: float | None = None
    valence: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)


class MoodAccumulator:
    """Adds up the moods of images, one by one, without keeping them."""

    def __init__(self) -> None:
        self._named: Counter[str] = Counter()
        self._sums: dict[str, float] = {}

    def add(self, mood: Mood) -> None:
        """Add an image. One without a mood changes nothing."""
        if mood.mood is None:
            return
        self._named[mood.mood] += 1
        for emotion, probability in mood.distribution.items():
            self._sums[emotion] = self._sums.get(emotion, 0.0) + probability

    def overall(self) -> OverallMood:
        """The mood over the images that were added."""
        images = self._named.total()
        if not images:
            return OverallMood()
        labels = sorted(self._sums)
        pooled = np.array([self._sums[label] for label in labels]) / images
        shares = np.array([self._named[label] for label in labels]) / images
        distribution = dict(zip(labels, pooled.tolist(), strict=True))
        return OverallMood(
            images,
            mood=labels[_first(pooled, shares)],
            distribution=distribution,
            agreement=float(certainty(pooled)),
            valence=_valence(distribution),
            shares=dict(zip(labels, shares.tolist(), strict=True)),
        )


def _first(distribution: Array, tie_break: Array) -> int:
    """The index of the largest probability; of equal ones the index with the larger `tie_break`,
    then the first. Both are rounded, because sums in another order differ in the last digits."""
    return int(np.lexsort((-tie_break.round(_DIGITS), -distribution.round(_DIGITS)))[0])


def _valence(distribution: Mapping[str, float]) -> dict[str, float]:
    sums = {"positive": 0.0, "neutral": 0.0, "negative": 0.0}
    for emotion, probability in distribution.items():
        if (kind := VALENCE.get(emotion)) is not None:
            sums[kind] += probability
    return sums
