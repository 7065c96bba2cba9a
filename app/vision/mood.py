"""The mood of a group, computed from the scores of the faces.

An aggregator combines the distributions of the faces into one: see app.vision.aggregators. Faces
without exclusive scores have no distribution and are excluded. The mood is the most probable
emotion. If several emotions are equally probable (to nine decimals), the mood is the emotion among
them with the largest mean over the faces. If these means are equal too, the mood is the emotion
that comes first in the labels of the model.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from app.vision.aggregators import AGGREGATORS, DEFAULT, Array, Group, certainty
from app.vision.types import Face

# Happiness is the only pleasant expression among the eight of FER+. Surprise counts as neutral:
# whether people judge it as positive or negative depends on the viewer and the context (Kim et al.
# 2004, J. Cogn. Neurosci. 16; Neta, Davis & Whalen 2011, Emotion 11).
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
# A reason to exclude a face, in addition to the names of the filters.
NOT_EXCLUSIVE = "not_exclusive"
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class WeightedFace:
    """A face that contributes to the mood. `number` counts the faces of the image from 1."""

    number: int
    weight: float
    dominant: str


@dataclass(frozen=True, slots=True)
class ExcludedFace:
    """A face that is excluded. `reason` is the name of the filter that excluded the face, or
    NOT_EXCLUSIVE."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Mood:
    """The mood of a group. `mood` is None and the mappings are empty if no face contributes.

    `agreement` is the certainty of the mean over the faces, for every aggregator: it is 1 if all
    faces have probability 1 for the same emotion. `valence` is the sum of the distribution for each
    value of VALENCE; emotions that VALENCE does not list are ignored. `shares` is the share of
    faces with each dominant emotion.
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
    """Compute the mood of the faces of one image.

    Excludes faces whose longer side is less than `min_face_px` pixels, faces whose detection
    score is less than `min_confidence` (faces without a score pass), and faces whose scores are not
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
        mood=group.labels[_most_probable(pooled, average)],
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
    """The mood over several images: the mean of the distributions of their moods.

    `images` is the number of images that have a mood. They have equal weights, regardless of the
    number of faces. Emotions that the model of an image does not have count as 0. `shares` is the
    share of images with each mood.

    If several emotions are equally probable, the mood is the emotion among them that is the mood of
    the most images. If these numbers are equal too, the first emotion in alphabetical order is the
    mood.
    """

    images: int = 0
    mood: str | None = None
    distribution: Mapping[str, float] = field(default_factory=dict)
    agreement: float | None = None
    valence: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)


class MoodAccumulator:
    """Adds up the moods of images without storing them."""

    def __init__(self) -> None:
        self._mood_counts: Counter[str] = Counter()
        self._sums: dict[str, float] = {}

    def add(self, mood: Mood) -> None:
        """Add the mood of an image. A `Mood` whose `mood` is None changes nothing."""
        if mood.mood is None:
            return
        self._mood_counts[mood.mood] += 1
        for emotion, probability in mood.distribution.items():
            self._sums[emotion] = self._sums.get(emotion, 0.0) + probability

    def overall(self) -> OverallMood:
        """Return the mood over all added images."""
        images = self._mood_counts.total()
        if not images:
            return OverallMood()
        labels = sorted(self._sums)
        pooled = np.array([self._sums[label] for label in labels]) / images
        shares = np.array([self._mood_counts[label] for label in labels]) / images
        distribution = dict(zip(labels, pooled.tolist(), strict=True))
        return OverallMood(
            images,
            mood=labels[_most_probable(pooled, shares)],
            distribution=distribution,
            agreement=float(certainty(pooled)),
            valence=_valence(distribution),
            shares=dict(zip(labels, shares.tolist(), strict=True)),
        )


def _most_probable(distribution: Array, tie_break: Array) -> int:
    """Return the index of the largest probability. Ties go to the larger `tie_break`, and then to
    the first index. Values are rounded, because the last digits of a sum depend on the order."""
    return int(np.lexsort((-tie_break.round(_DIGITS), -distribution.round(_DIGITS)))[0])


def _valence(distribution: Mapping[str, float]) -> dict[str, float]:
    sums = {"positive": 0.0, "neutral": 0.0, "negative": 0.0}
    for emotion, probability in distribution.items():
        if (kind := VALENCE.get(emotion)) is not None:
            sums[kind] += probability
    return sums
