"""The mood of a group, from its faces' distributions: pure functions, no pixels.

An aggregator pools the faces of one picture into one distribution and says how much of it each face
gave: weights that sum to 1. The order of the faces never matters. Where emotions are equally
probable (to nine decimals), the mood is the one with the larger mean over the faces, then the first
in the model's order.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.vision.types import Face

Array = NDArray[np.float64]

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
ALARMING = ("anger", "disgust", "fear", "sadness")  # what `most_negative` looks for
TRIMMED = 0.2  # of the faces, at each end
LEAST = 0.01  # a probability in the logarithmic pool: no face alone forbids an emotion
FALLOFF = 0.5  # of the weight, at the face farthest from the group's middle
GAMMA = 0.25  # exponent of the size in `quality`
_DIGITS = 9
_NOTHING = 1e-9


@dataclass(frozen=True, slots=True)
class Group:
    """At least one face of one picture: `probabilities` (F, K), whose rows sum to 1 over `labels`
    (K,); `boxes_xyxy` (F, 4) in pixels; `scores` (F,), the detector's, 1 where it gives none."""

    labels: tuple[str, ...]
    probabilities: Array
    boxes_xyxy: Array
    scores: Array

    @classmethod
    def of(cls, faces: Sequence[Face]) -> "Group":
        """Faces of one picture, and so of one model."""
        labels = tuple(faces[0].emotions)
        rows = np.array([[face.emotions[label] for label in labels] for face in faces])
        return cls(
            labels,
            rows / rows.sum(axis=1, keepdims=True),
            np.array([face.box.xyxy for face in faces]),
            np.array([1.0 if f.detection_score is None else f.detection_score for f in faces]),
        )

    @property
    def sizes(self) -> Array:
        """The longer sides (F,) of the boxes."""
        sides: Array = (self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2]).max(axis=1)
        return sides


Pooled = tuple[Array, Array]
"""The weights (F,) of the faces and the distribution (K,); each sums to 1."""


def total(group: Group) -> Pooled:
    """Σ p_f, brought back to a sum of 1: the default of EmoSense, the system that this answers to.
    Each face weighs 1/F, so it is `mean` under another name."""
    return _linear(group, np.ones(len(group.scores)))


def mean(group: Group) -> Pooled:
    """(1/F) Σ p_f; each face weighs 1/F. The rule for faces of EmotiW 2017's winner (Tan et al.
    2017, ICMI), and the linear opinion pool (Stone 1961)."""
    return _linear(group, np.ones(len(group.scores)))


def median(group: Group) -> Pooled:
    """For each emotion the median over the faces, brought back to a sum of 1; the mean of all where
    every median is 0. A face weighs what the medians take from it (Tukey 1977)."""
    count = len(group.scores)
    taken = np.zeros(count)
    taken[(count - 1) // 2 : count // 2 + 1] = 1
    return _ranked(group, taken)


def trimmed(group: Group) -> Pooled:
    """For each emotion the mean without the ⌊F/5⌋ faces that show it least and those that show it
    most, brought back to a sum of 1; the mean of all where nothing is left. A face weighs what is
    taken from it (Tukey & McLaughlin 1963; 20 % as in Wilcox 2012). Below five faces it is the
    mean."""
    count = len(group.scores)
    cut = int(TRIMMED * count)
    taken = np.zeros(count)
    taken[cut : count - cut] = 1
    return _ranked(group, taken)


def maximum(group: Group) -> Pooled:
    """For each emotion the largest probability of any face, brought back to a sum of 1: the max
    rule of Kittler et al. 1998 (PAMI 20). A face weighs what is taken from it."""
    taken = np.zeros(len(group.scores))
    taken[-1] = 1
    return _ranked(group, taken)


def vote(group: Group) -> Pooled:
    """The share of the faces whose most probable emotion it is; each face weighs 1/F. Majority
    voting, as in Kittler et al. 1998 (PAMI 20)."""
    count, classes = group.probabilities.shape
    votes = np.eye(classes)[group.probabilities.argmax(axis=1)]
    return np.full(count, 1 / count), votes.mean(axis=0)


def logpool(group: Group) -> Pooled:
    """exp((1/F) Σ ln max(p_f, .01)), brought back to a sum of 1: the logarithmic opinion pool, a
    geometric mean (Genest & Zidek 1986, Statist. Sci. 1). Each face weighs 1/F."""
    count = len(group.scores)
    pooled = np.exp(np.log(np.maximum(group.probabilities, LEAST)).mean(axis=0))
    return np.full(count, 1 / count), pooled / pooled.sum()


def size(group: Group) -> Pooled:
    """Σ w_f p_f, w_f ∝ the longer side of the face's box: who is nearer to the camera counts more
    (after Dhall et al. 2015, "Automatic group happiness intensity analysis", TAC 6)."""
    return _linear(group, group.sizes)


def centrality(group: Group) -> Pooled:
    """Σ w_f p_f, w_f ∝ 1 − d_f / (2 max d), where d_f is the distance of the middle of a face from
    the mean of all middles: who is farthest out counts half as much as who is in the middle (after
    Dhall et al. 2015, TAC 6)."""
    middles = (group.boxes_xyxy[:, :2] + group.boxes_xyxy[:, 2:]) / 2
    distances = np.linalg.norm(middles - middles.mean(axis=0), axis=1)
    farthest = distances.max()
    near = np.zeros(len(distances)) if farthest < _NOTHING else distances / farthest
    return _linear(group, 1 - FALLOFF * near)


def quality(group: Group) -> Pooled:
    """Σ w_f p_f, w_f ∝ s_f^¼ · c_f · (1 − H(p_f) / ln K), of the longer side s, the detection score
    c (1 where there is none) and the entropy H: small, doubtful and undecided faces count less
    (uncertainty-aware weights as in arXiv 2310.04306). Where all weigh 0, all weigh the same."""
    return _linear(group, group.sizes**GAMMA * group.scores * _sureness(group.probabilities))


def most_negative(group: Group) -> Pooled:
    """The distribution of the face with the largest p(anger) + p(disgust) + p(fear) + p(sadness),
    as far as its model knows these; it alone weighs, or those that are equal. For uses where one
    face in distress is what matters."""
    alarm = group.probabilities[:, [label in ALARMING for label in group.labels]].sum(axis=1)
    return _linear(group, (alarm >= alarm.max() - _NOTHING).astype(float))


AGGREGATORS: dict[str, Callable[[Group], Pooled]] = {
    "sum": total,
    "mean": mean,
    "median": median,
    "trimmed": trimmed,
    "max": maximum,
    "vote": vote,
    "logpool": logpool,
    "size": size,
    "centrality": centrality,
    "quality": quality,
    "most_negative": most_negative,
}
DEFAULT = "quality"  # right most often in docs/mood.md


@dataclass(frozen=True, slots=True)
class WeighedFace:
    """`number` counts from 1 within the picture."""

    number: int
    weight: float
    dominant: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """`reason` names the filter that the face does not pass."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Mood:
    """What a group's mood is; None, with nothing in the mappings, where no face is usable.

    `agreement` is 1 − H/ln K of the plain mean over the faces, whatever the aggregator: 1 where all
    are sure of the same emotion. `valence` sums the distribution by VALENCE; emotions that it does
    not name are left out. `shares` are of faces by their most probable emotion.
    """

    aggregator: str
    mood: str | None = None
    distribution: Mapping[str, float] = field(default_factory=dict)
    agreement: float | None = None
    valence: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    faces: tuple[WeighedFace, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def mood_of(
    faces: Sequence[Face],
    aggregator: str = DEFAULT,
    *,
    min_face_px: float = 0.0,
    min_confidence: float = 0.0,
) -> Mood:
    """The mood of one picture's faces. Left out are faces whose longer side is under `min_face_px`
    pixels, and faces whose detection score is under `min_confidence`; a face without a score
    passes. Raises KeyError for an unknown aggregator."""
    pool = AGGREGATORS[aggregator]
    used: dict[int, Face] = {}
    left_out = []
    for number, face in enumerate(faces, start=1):
        if face.box.longer_side < min_face_px:
            left_out.append(LeftOut(number, "min_face_px"))
        elif face.detection_score is not None and face.detection_score < min_confidence:
            left_out.append(LeftOut(number, "min_confidence"))
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
        agreement=float(_sureness(average)),
        valence=_valence(distribution),
        shares={label: dominants[label] / len(used) for label in group.labels},
        faces=tuple(
            WeighedFace(number, weight, face.dominant)
            for (number, face), weight in zip(used.items(), weights.tolist(), strict=True)
        ),
        left_out=tuple(left_out),
    )


@dataclass(frozen=True, slots=True)
class OverallMood:
    """The mood over many pictures: the mean of their distributions, in which every picture that has
    a mood (`pictures` of them) counts alike, however many faces it has. Of an emotion that a
    picture's model does not know, it shows nothing. `shares` are of pictures by their mood.

    Where emotions are equally probable, the mood is that of more pictures, then the first in the
    alphabet.
    """

    pictures: int = 0
    mood: str | None = None
    distribution: Mapping[str, float] = field(default_factory=dict)
    agreement: float | None = None
    valence: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)


class Moods:
    """Sums up the moods of pictures one by one, keeping none of them."""

    def __init__(self) -> None:
        self._named: Counter[str] = Counter()
        self._sums: dict[str, float] = {}

    def add(self, mood: Mood) -> None:
        """A picture without a mood adds nothing."""
        if mood.mood is None:
            return
        self._named[mood.mood] += 1
        for emotion, probability in mood.distribution.items():
            self._sums[emotion] = self._sums.get(emotion, 0.0) + probability

    def overall(self) -> OverallMood:
        pictures = self._named.total()
        if not pictures:
            return OverallMood()
        labels = sorted(self._sums)
        pooled = np.array([self._sums[label] for label in labels]) / pictures
        shares = np.array([self._named[label] for label in labels]) / pictures
        distribution = dict(zip(labels, pooled.tolist(), strict=True))
        return OverallMood(
            pictures,
            mood=labels[_first(pooled, shares)],
            distribution=distribution,
            agreement=float(_sureness(pooled)),
            valence=_valence(distribution),
            shares=dict(zip(labels, shares.tolist(), strict=True)),
        )


def _linear(group: Group, importance: Array) -> Pooled:
    """Σ w_f p_f with weights in proportion to `importance` (F,); equal ones where that is 0."""
    if importance.sum() < _NOTHING:
        importance = np.ones(len(importance))
    weights = importance / importance.sum()
    return weights, weights @ group.probabilities


def _ranked(group: Group, taken: Array) -> Pooled:
    """For each emotion Σ taken_r p_(r) over the faces in ascending order of its probability,
    brought back to a sum of 1. `taken` (F,) says how much of each rank is taken; faces that are
    equal share what is taken of their ranks."""
    rows = group.probabilities
    order = rows.argsort(axis=0)
    shares = np.empty_like(rows)
    np.put_along_axis(shares, order, np.broadcast_to(taken[:, np.newaxis], rows.shape), axis=0)
    for emotion in range(rows.shape[1]):
        _, equal = np.unique(rows[:, emotion], return_inverse=True)
        together = np.bincount(equal, shares[:, emotion]) / np.bincount(equal)
        shares[:, emotion] = together[equal]
    parts = shares * rows
    if parts.sum() < _NOTHING:
        return mean(group)
    parts /= parts.sum()
    return parts.sum(axis=1), parts.sum(axis=0)


def _first(distribution: Array, otherwise: Array) -> int:
    """The index of the most probable; of equal ones that with the larger `otherwise`, then the
    first. Rounded, for a sum depends on the order of its parts in the last digits."""
    return int(np.lexsort((-otherwise.round(_DIGITS), -distribution.round(_DIGITS)))[0])


def _sureness(distributions: Array) -> Array:
    """1 − H/ln K of each distribution (…, K): 1 for one sure emotion, 0 for all of K alike."""
    classes = distributions.shape[-1]
    if classes == 1:
        return np.ones(distributions.shape[:-1])
    logarithms = np.log(np.where(distributions > 0, distributions, 1))
    entropies = -(distributions * logarithms).sum(axis=-1)
    certainty: Array = np.clip(1 - entropies / np.log(classes), 0, 1)
    return certainty


def _valence(distribution: Mapping[str, float]) -> dict[str, float]:
    sums = {"positive": 0.0, "neutral": 0.0, "negative": 0.0}
    for emotion, probability in distribution.items():
        if (kind := VALENCE.get(emotion)) is not None:
            sums[kind] += probability
    return sums
