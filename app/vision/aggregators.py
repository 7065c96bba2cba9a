"""Aggregators: rules that pool the emotion distributions of a group's faces into one.

To add an aggregator, write a function and add an entry to AGGREGATORS. A function returns the
pooled distribution and the weight of each face; the weights sum to 1. The order of the faces does
not matter. Aggregators work with the labels of any model whose scores are exclusive.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.vision.types import Face

Array = NDArray[np.float64]

# What `most_negative` looks for.
DISTRESS = ("anger", "disgust", "fear", "sadness")
TRIMMED = 0.2  # share of the faces that `trimmed` leaves out at each end
# `logpool` raises smaller probabilities to this, so that no face alone excludes an emotion.
MIN_PROBABILITY = 0.01
FALLOFF = 0.5  # what `centrality` subtracts from the weight of the outermost face
GAMMA = 0.25  # exponent of the size in `quality`
_NOTHING = 1e-9


@dataclass(frozen=True, slots=True)
class Group:
    """At least one face of one image. `probabilities` (F, K) has rows that sum to 1 over `labels`
    (K,). `boxes_xyxy` (F, 4) is in pixels. `scores` (F,) are the detection scores, 1 for a face
    without one."""

    labels: tuple[str, ...]
    probabilities: Array
    boxes_xyxy: Array
    scores: Array

    @classmethod
    def of(cls, faces: Sequence[Face]) -> "Group":
        """The group of these faces, which one model classified. Raises ValueError if their scores
        are not exclusive."""
        if not all(face.emotions.exclusive for face in faces):
            raise ValueError("only faces with exclusive scores form a group")
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
        """The longer sides (F,) of the boxes, in pixels."""
        sides: Array = (self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2]).max(axis=1)
        return sides


Pooled: TypeAlias = tuple[Array, Array]
"""The weights (F,) of the faces and the distribution (K,). Each sums to 1."""


def certainty(distributions: Array) -> Array:
    """1 − H / ln K of each distribution (…, K), with the entropy H: 1 if one label has all the
    probability, 0 if all K labels have the same. 1 for a single label."""
    classes = distributions.shape[-1]
    if classes == 1:
        return np.ones(distributions.shape[:-1])
    logarithms = np.log(np.where(distributions > 0, distributions, 1))
    entropies = -(distributions * logarithms).sum(axis=-1)
    certain: Array = np.clip(1 - entropies / np.log(classes), 0, 1)
    return certain


def total(group: Group) -> Pooled:
    """Σ p_f, normalised to a sum of 1: the default of EmoSense, the system that this project
    answers to. Each face weighs 1/F, so it is `mean` under another name."""
    return _linear(group, np.ones(len(group.scores)))


def mean(group: Group) -> Pooled:
    """(1/F) Σ p_f; each face weighs 1/F. The rule for faces of EmotiW 2017's winner (Tan et al.
    2017, ICMI), and the linear opinion pool (Stone 1961)."""
    return _linear(group, np.ones(len(group.scores)))


def median(group: Group) -> Pooled:
    """For each emotion the median over the faces, normalised to a sum of 1; the mean if every
    median is 0. The weight of a face is the share of the medians that comes from it (Tukey
    1977)."""
    count = len(group.scores)
    taken = np.zeros(count)
    taken[(count - 1) // 2 : count // 2 + 1] = 1
    return _ranked(group, taken)


def trimmed(group: Group) -> Pooled:
    """For each emotion the mean without the ⌊F/5⌋ faces that show it least and the ⌊F/5⌋ that show
    it most, normalised to a sum of 1; the mean if nothing is left. The weight of a face is the
    share that comes from it (Tukey & McLaughlin 1963; 20 % as in Wilcox 2012). Below five faces it
    is the mean."""
    count = len(group.scores)
    cut = int(TRIMMED * count)
    taken = np.zeros(count)
    taken[cut : count - cut] = 1
    return _ranked(group, taken)


def maximum(group: Group) -> Pooled:
    """For each emotion the largest probability of any face, normalised to a sum of 1: the max rule
    of Kittler et al. 1998 (PAMI 20). The weight of a face is the share that comes from it."""
    taken = np.zeros(len(group.scores))
    taken[-1] = 1
    return _ranked(group, taken)


def vote(group: Group) -> Pooled:
    """For each emotion the share of the faces whose most probable emotion it is; each face weighs
    1/F. Majority voting, as in Kittler et al. 1998 (PAMI 20)."""
    count, classes = group.probabilities.shape
    votes = np.eye(classes)[group.probabilities.argmax(axis=1)]
    return np.full(count, 1 / count), votes.mean(axis=0)


def logpool(group: Group) -> Pooled:
    """exp((1/F) Σ ln max(p_f, MIN_PROBABILITY)), normalised to a sum of 1: the logarithmic opinion
    pool, a geometric mean (Genest & Zidek 1986, Statist. Sci. 1). Each face weighs 1/F."""
    count = len(group.scores)
    pooled = np.exp(np.log(np.maximum(group.probabilities, MIN_PROBABILITY)).mean(axis=0))
    return np.full(count, 1 / count), pooled / pooled.sum()


def size(group: Group) -> Pooled:
    """Σ w_f p_f with w_f ∝ the longer side of the face's box: faces near the camera count more
    (after Dhall et al. 2015, "Automatic group happiness intensity analysis", TAC 6)."""
    return _linear(group, group.sizes)


def centrality(group: Group) -> Pooled:
    """Σ w_f p_f with w_f ∝ 1 − d_f / (2 max d), where d_f is the distance of the centre of a face
    from the mean of all centres: the outermost face counts half as much as a face in the middle
    (after Dhall et al. 2015, TAC 6)."""
    centres = (group.boxes_xyxy[:, :2] + group.boxes_xyxy[:, 2:]) / 2
    distances = np.linalg.norm(centres - centres.mean(axis=0), axis=1)
    farthest = distances.max()
    relative = np.zeros(len(distances)) if farthest < _NOTHING else distances / farthest
    return _linear(group, 1 - FALLOFF * relative)


def quality(group: Group) -> Pooled:
    """Σ w_f p_f with w_f ∝ s_f^GAMMA · c_f · certainty(p_f), for the longer side s and the
    detection score c: small, doubtful and undecided faces count less (uncertainty-aware weights as
    in arXiv 2310.04306). If all weights are 0, all faces weigh the same."""
    return _linear(group, group.sizes**GAMMA * group.scores * certainty(group.probabilities))


def most_negative(group: Group) -> Pooled:
    """The distribution of the face with the largest sum over DISTRESS, as far as the model has
    these labels. Faces with an equal sum share the weight; with a model that has none of the labels
    it is the mean. For uses in which one face in distress matters."""
    distress = group.probabilities[:, [label in DISTRESS for label in group.labels]].sum(axis=1)
    return _linear(group, (distress >= distress.max() - _NOTHING).astype(float))


@dataclass(frozen=True, slots=True)
class Aggregator:
    """`title` and `description` help people to choose. `pool` computes the distribution."""

    name: str
    title: str
    description: str
    pool: Callable[[Group], Pooled]


AGGREGATORS: dict[str, Aggregator] = {
    each.name: each
    for each in (
        Aggregator("sum", "Sum", "Each face counts alike. The same as the mean.", total),
        Aggregator("mean", "Mean", "Each face counts alike.", mean),
        Aggregator("median", "Median", "For each emotion the median over the faces.", median),
        Aggregator(
            "trimmed",
            "Trimmed mean",
            "For each emotion the mean without a fifth of the faces at each end.",
            trimmed,
        ),
        Aggregator(
            "max", "Maximum", "For each emotion the largest probability of any face.", maximum
        ),
        Aggregator(
            "vote", "Vote", "For each emotion the share of the faces that show it most.", vote
        ),
        Aggregator(
            "logpool",
            "Geometric mean",
            "An emotion counts little if any face hardly shows it.",
            logpool,
        ),
        Aggregator("size", "By size", "Larger faces count more.", size),
        Aggregator(
            "centrality", "By position", "Faces in the middle of the group count more.", centrality
        ),
        Aggregator(
            "quality",
            "By quality",
            "Small, doubtful and undecided faces count less.",
            quality,
        ),
        Aggregator(
            "most_negative",
            "Most negative face",
            "The face with the most anger, disgust, fear and sadness counts alone.",
            most_negative,
        ),
    )
}
DEFAULT = "quality"  # names the mood correctly most often in docs/mood.md


def _linear(group: Group, importance: Array) -> Pooled:
    """Σ w_f p_f with weights in proportion to `importance` (F,); equal weights if that is 0."""
    if importance.sum() < _NOTHING:
        importance = np.ones(len(importance))
    weights = importance / importance.sum()
    return weights, weights @ group.probabilities


def _ranked(group: Group, taken: Array) -> Pooled:
    """For each emotion Σ taken_r p_(r) over the faces in ascending order of its probability,
    normalised to a sum of 1. `taken` (F,) says how much of each rank is used; faces with equal
    probabilities share what is taken of their ranks."""
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
