"""The moods of scenes by system, aggregator and filter, compared with the ground truth."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.vision.aggregators import AGGREGATORS
from app.vision.mood import mood_of
from app.vision.types import Face, Scores
from evaluation.expressions import SystemResult
from evaluation.mood_scenes import GROUPS, TINY_SHARES, Scene
from evaluation.systems import System
from training.ferplus_labels import LABELS


@dataclass(frozen=True, slots=True)
class Filter:
    """The limits that a face must reach to be used for the mood."""

    name: str
    min_face_px: float = 0.0
    min_confidence: float = 0.0


ALL_FACES = Filter("all faces")
FILTERS = (
    ALL_FACES,
    Filter("≥ 24 px", min_face_px=24),
    Filter("≥ 40 px", min_face_px=40),
    Filter("score ≥ .7", min_confidence=0.7),
    Filter("score ≥ .9", min_confidence=0.9),
    Filter("≥ 24 px, score ≥ .7", min_face_px=24, min_confidence=0.7),
)


@dataclass(frozen=True)
class MoodResults:
    """The moods of all scenes by one system, aggregator and filter.

    `correct` (scenes,) is 1 or 0; a scene without a mood counts as 0. `distance` (scenes,) is half
    the sum of the absolute differences between the distribution and the mean label; 1 for a scene
    without a mood.
    """

    correct: NDArray[np.float64]
    distance: NDArray[np.float64]


MoodResultsBySystem = dict[System, dict[str, dict[Filter, MoodResults]]]


def mood_results(
    found: Sequence[SystemResult], scenes: Sequence[Scene], aggregator: str, face_filter: Filter
) -> MoodResults:
    """Aggregate the faces that a system found in each scene, and compare with the ground truth."""
    correct, distance = [], []
    for result, scene in zip(found, scenes, strict=True):
        mood = mood_of(
            result.analysis.faces,
            aggregator,
            min_face_px=face_filter.min_face_px,
            min_confidence=face_filter.min_confidence,
        )
        correct.append(mood.mood == scene.mood)
        distribution = np.array([mood.distribution.get(label, 0.0) for label in LABELS])
        difference = np.abs(distribution - scene.mean_label).sum() / 2
        distance.append(difference if mood.mood is not None else 1.0)
    return MoodResults(np.array(correct, float), np.array(distance))


def mood_results_by_system(
    found: dict[System, list[SystemResult]], scenes: Sequence[Scene]
) -> MoodResultsBySystem:
    """The results of every system by aggregator and filter."""
    return {
        system: {
            aggregator: {each: mood_results(results, scenes, aggregator, each) for each in FILTERS}
            for aggregator in AGGREGATORS
        }
        for system, results in found.items()
    }


def mean_over_systems(
    by_system: MoodResultsBySystem, aggregator: str, face_filter: Filter = ALL_FACES
) -> NDArray[np.float64]:
    """The share of systems whose mood is correct, for each scene (scenes,)."""
    correct = [by_name[aggregator][face_filter].correct for by_name in by_system.values()]
    shares: NDArray[np.float64] = np.mean(correct, axis=0)
    return shares


def best_aggregator(by_system: MoodResultsBySystem) -> str:
    """The aggregator with the highest accuracy over all systems without filters.

    If several are equal, the first of them in AGGREGATORS.
    """
    return max(AGGREGATORS, key=lambda name: float(mean_over_systems(by_system, name).mean()))


def correct_on_ground_truth(scenes: Sequence[Scene], aggregator: str) -> NDArray[np.float64]:
    """Whether an aggregator is correct (scenes,) on perfect detections and classifications: 1 or 0.

    The errors that remain are those of the aggregator alone.
    """
    correct = []
    for scene in scenes:
        faces = [
            Face(box, Scores({each: float(each == label) for each in LABELS}), 1.0)
            for box, label in scene.truth.faces
        ]
        correct.append(mood_of(faces, aggregator).mood == scene.mood)
    return np.array(correct, float)


def by_group(scenes: Sequence[Scene]) -> dict[str, NDArray[np.bool_]]:
    """Masks (scenes,) of the scenes by their number of faces."""
    faces = np.array([each.faces for each in scenes])
    return {name: (low <= faces) & (faces <= high) for name, (low, high) in GROUPS.items()}


def by_tiny_share(scenes: Sequence[Scene]) -> dict[str, NDArray[np.bool_]]:
    """Masks (scenes,) of the scenes by their share of tiny faces."""
    shares = np.array([each.tiny_share for each in scenes])
    return {
        name: (shares == 0) if high == 0 else (low < shares) & (shares <= high)
        for name, (low, high) in TINY_SHARES.items()
    }


def count_moods(scenes: Sequence[Scene]) -> Counter[str]:
    """The number of scenes with each mood."""
    return Counter(each.mood for each in scenes)
