"""Aggregators: rules that combine the emotion distributions of several faces into one.

To add an aggregator, write a function and add an entry to AGGREGATORS. The function returns the
weights of the faces, which sum to 1, and the combined distribution. The order of the faces must not
matter. Aggregators work with the labels of any model whose scores are exclusive.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.vision.types import Face

Array = NDArray[np.float64]

DISTRESS = ("anger", "disgust", "fear", "sadness")  # the emotions that `most_negative` sums
TRIMMED = 0.2  # share of the faces that `trimmed` excludes at each end
# `logpool` raises smaller probabilities to this, so that no face alone excludes an emotion.
MIN_PROBABILITY = 0.01
FALLOFF = 0.5  # `centrality` reduces the relative weight of the outermost face by this
GAMMA = 0.25  # exponent of the size in `quality`
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True)
class Group:
    """The faces of one image, at least one.

    `probabilities` (F, K): each row sums to 1 over the `labels` (K,). `boxes_xyxy` (F, 4): pixels.
    `scores` (F,): detection scores; 1 for a face without a score.
    """

    labels: tuple[str, ...]
    probabilities: Array
    boxes_xyxy: Array
    scores: Array

    @classmethod
    def of(cls, faces: Sequence[Face]) -> "Group":
        """Create the group of faces that one model classified. Raises ValueError if their scores
        are not exclusive."""
        if not all(face.emotions.exclusive for face in faces):
            raise ValueError("the scores of all faces must be exclusive")
        labels = tuple(faces[0].emotions)
        rows = np.array([[face.emotions[label] for label in labels] for face in faces])
        return cls(
            labels,
            rows / rows.sum(axis=1, keepdims=True),
            np.array([face.box.xyxy for face in faces]),
            np.array(
                [1.0 if face.detection_score is None else face.detection_score for face in faces]
            ),
        )

    @property
    def sizes(self) -> Array:
        """The longer sides (F,) of the boxes, in pixels."""
        sides: Array = (self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2]).max(axis=1)
        return sides


Pooled: TypeAlias = tuple[Array, Array]
"""The weights (F,) of the faces and the combined distribution (K,). Each sums to 1."""


def certainty(distributions: Array) -> Array:
    """Return 1 − H / ln K of each distribution (…, K), where H is the entropy.

    It is 1 if one label has probability 1, and 0 if all K labels are equally probable. It is 1 for
    a single label.
    """
    classes = distributions.shape[-1]
    if classes == 1:
        return np.ones(distributions.shape[:-1])
    logarithms = np.log(np.where(distributions > 0, distributions, 1))
    entropies = -(distributions * logarithms).sum(axis=-1)
    certainties: Array = np.clip(1 - entropies / np.log(classes), 0, 1)
    return certainties


def total(group: Group) -> Pooled:
    """Σ p_f, normalised to a sum of 1. Each face has the weight 1/F, so the result equals `mean`.

    It is the default aggregator of EmoSense (see docs/mood.md).
    """
    return _linear(group, np.ones(len(group.scores)))


def mean(group: Group) -> Pooled:
    """(1/F) Σ p_f. Each face has the weight 1/F.

    It is the linear opinion pool (Stone 1961). The winner of EmotiW 2017 uses it for faces (Tan et
    al. 2017, ICMI).
    """
    return _linear(group, np.ones(len(group.scores)))


def median(group: Group) -> Pooled:
    """The median over the faces for each emotion, normalised to a sum of 1 (Tukey 1977).

    The weight of a face is its contribution to the medians divided by the sum of the medians. If
    every median is 0, the result is the mean.
    """
    count = len(group.scores)
    rank_weights = np.zeros(count)
    rank_weights[(count - 1) // 2 : count // 2 + 1] = 1
    return _ranked(group, rank_weights)


def trimmed(group: Group) -> Pooled:
    """The trimmed mean over the faces for each emotion, normalised to a sum of 1 (Tukey &
    McLaughlin 1963; 20 % as in Wilcox 2012).

    The mean of an emotion excludes the ⌊F/5⌋ lowest and the ⌊F/5⌋ highest probabilities. The
    weight of a face is its contribution to these means divided by the sum of the means. With fewer
    than five faces, or if the sum is 0, the result is the mean.
    """
    count = len(group.scores)
    cut = int(TRIMMED * count)
    rank_weights = np.zeros(count)
    rank_weights[cut : count - cut] = 1
    return _ranked(group, rank_weights)


def maximum(group: Group) -> Pooled:
    """The largest probability of each emotion, normalised to a sum of 1: the max rule of Kittler et
    al. 1998 (PAMI 20). The weight of a face is its contribution to the maxima divided by the sum of
    the maxima."""
    rank_weights = np.zeros(len(group.scores))
    rank_weights[-1] = 1
    return _ranked(group, rank_weights)


def vote(group: Group) -> Pooled:
    """Majority voting, as in Kittler et al. 1998 (PAMI 20): each face votes for its most probable
    emotion. The result is the share of the votes. Each face has the weight 1/F."""
    count, classes = group.probabilities.shape
    votes = np.eye(classes)[group.probabilities.argmax(axis=1)]
    return np.full(count, 1 / count), votes.mean(axis=0)


def logpool(group: Group) -> Pooled:
    """exp((1/F) Σ ln max(p_f, MIN_PROBABILITY)), normalised to a sum of 1: the logarithmic opinion
    pool, a geometric mean (Genest & Zidek 1986, Statist. Sci. 1). Each face has the weight 1/F."""
    count = len(group.scores)
    pooled = np.exp(np.log(np.maximum(group.probabilities, MIN_PROBABILITY)).mean(axis=0))
    return np.full(count, 1 / count), pooled / pooled.sum()


def size(group: Group) -> Pooled:
    """Σ w_f p_f with w_f ∝ the longer side of the box. Faces near the camera count more (after
    Dhall et al. 2015, "Automatic group happiness intensity analysis", TAC 6)."""
    return _linear(group, group.sizes)


def centrality(group: Group) -> Pooled:
    """Σ w_f p_f with w_f ∝ 1 − d_f / (2 max d), where d_f is the distance between the centre of the
    face and the mean of all centres (after Dhall et al. 2015, TAC 6).

    The outermost face has half the weight of a face in the middle.
    """
    centres = (group.boxes_xyxy[:, :2] + group.boxes_xyxy[:, 2:]) / 2
    distances = np.linalg.norm(centres - centres.mean(axis=0), axis=1)
    farthest = distances.max()
    relative = np.zeros(len(distances)) if farthest < _EPSILON else distances / farthest
    return _linear(group, 1 - FALLOFF * relative)


def quality(group: Group) -> Pooled:
    """Σ w_f p_f with w_f ∝ s_f^GAMMA · c_f · certainty(p_f), where s_f is the longer side of the
    box and c_f the detection score (uncertainty-aware weights as in arXiv 2310.04306).

    Small faces, uncertain detections and uncertain classifications count less. If all weights are
    0, the faces have equal weights.
    """
    return _linear(group, group.sizes**GAMMA * group.scores * certainty(group.probabilities))


def most_negative(group: Group) -> Pooled:
    """The distribution of the face with the largest sum over DISTRESS. It is for applications in
    which a single distressed face matters.

    Labels of DISTRESS that the model lacks are ignored. If the model has none of them, the result
    is the mean. Faces with equal sums share the weight.
    """
    distress = group.probabilities[:, [label in DISTRESS for label in group.labels]].sum(axis=1)
    return _linear(group, (distress >= distress.max() - _EPSILON).astype(float))


@dataclass(frozen=True, slots=True)
class Aggregator:
    """An aggregator. `title` and `description` are shown to users. `pool` is the function."""

    name: str
    title: str
    description: str
    pool: Callable[[Group], Pooled]


AGGREGATORS: dict[str, Aggregator] = {
    each.name: each
    for each in (
        Aggregator("sum", "Sum", "All faces count equally. The same as the mean.", total),
        Aggregator("mean", "Mean", "All faces count equally.", mean),
        Aggregator("median", "Median", "The median over the faces for each emotion.", median),
        Aggregator(
            "trimmed",
            "Trimmed mean",
            "The mean for each emotion, without the lowest and the highest fifth of the faces.",
            trimmed,
        ),
        Aggregator(
            "max", "Maximum", "The largest probability of any face for each emotion.", maximum
        ),
        Aggregator("vote", "Vote", "Each face votes for its most probable emotion.", vote),
        Aggregator(
            "logpool",
            "Geometric mean",
            "An emotion gets a low score if any face has a low probability for it.",
            logpool,
        ),
        Aggregator("size", "By size", "Larger faces count more.", size),
        Aggregator(
            "centrality", "By position", "Faces in the middle of the group count more.", centrality
        ),
        Aggregator(
            "quality",
            "By quality",
            "Small faces, uncertain detections and uncertain classifications count less.",
            quality,
        ),
        Aggregator(
            "most_negative",
            "Most negative face",
            "Only the face with the most anger, disgust, fear and sadness counts.",
            most_negative,
        ),
    )
}
DEFAULT = "quality"  # the most accurate aggregator in docs/mood.md


def _linear(group: Group, importance: Array) -> Pooled:
    """Return Σ w_f p_f with weights in proportion to `importance` (F,). The weights are equal if
    every importance is 0."""
    if importance.sum() < _EPSILON:
        importance = np.ones(len(importance))
    weights = importance / importance.sum()
    return weights, weights @ group.probabilities


def _ranked(group: Group, rank_weights: Array) -> Pooled:
    """Return Σ rank_weights_r p_(r) for each emotion, normalised to a sum of 1.

    p_(r) are the probabilities of the emotion in ascending order. Faces with equal probabilities
    share the weights (F,) of their ranks. If the sum is 0, the result is the mean.
    """
    rows = group.probabilities
    order = rows.argsort(axis=0)
    weights = np.empty_like(rows)
    np.put_along_axis(
        weights, order, np.broadcast_to(rank_weights[:, np.newaxis], rows.shape), axis=0
    )
    for emotion in range(rows.shape[1]):
        _, ties = np.unique(rows[:, emotion], return_inverse=True)
        tie_means = np.bincount(ties, weights[:, emotion]) / np.bincount(ties)
        weights[:, emotion] = tie_means[ties]
    contributions = weights * rows
    if contributions.sum() < _EPSILON:
        return mean(group)
    contributions /= contributions.sum()
    return contributions.sum(axis=1), contributions.sum(axis=0)
