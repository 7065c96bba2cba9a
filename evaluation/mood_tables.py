"""The tables and the chart of the mood evaluation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from app.vision.aggregators import AGGREGATORS, DEFAULT
from evaluation import plots
from evaluation.expressions import NO_FACE, Expressions, SystemResult
from evaluation.metrics import bootstrap_interval
from evaluation.mood_results import (
    ALL_FACES,
    FILTERS,
    MoodResultsBySystem,
    by_group,
    by_tiny_share,
    correct_on_ground_truth,
    count_moods,
    mean_over_systems,
)
from evaluation.mood_scenes import GROUPS, TINY_SHARES, Scene
from evaluation.systems import System
from testbed.markdown import percent, table
from training.ferplus_labels import LABELS

ALL_SYSTEMS = "all systems"  # a column
OVERVIEW_HEAD = ["aggregator", ALL_SYSTEMS, "difference to `mean`", "distance"]
SHORT_HEAD = ["aggregator", "accuracy", *(f"tiny faces: {name}" for name in TINY_SHARES)]
FACES_HEAD = ["system", "IoU", "AP of faces", "mAP"]


def overview(by_system: MoodResultsBySystem, scenes: Sequence[Scene]) -> str:
    """Accuracy by aggregator (rows), over all systems and of each system."""
    head = [*OVERVIEW_HEAD, *map(str, by_system), "on ground truth"]
    rows = []
    for aggregator in AGGREGATORS:
        correct = mean_over_systems(by_system, aggregator)
        difference = correct - mean_over_systems(by_system, "mean")
        of_systems = [by_name[aggregator][ALL_FACES] for by_name in by_system.values()]
        rows.append(
            [
                _name(aggregator),
                _with_interval(correct),
                "–" if not difference.any() else _with_interval(difference, signed=True),
                f"{np.mean([each.distance.mean() for each in of_systems]):.3f}",
                *(_percent(each.correct) for each in of_systems),
                _percent(correct_on_ground_truth(scenes, aggregator)),
            ]
        )
    return table(head, rows)


def table_by_kind(by_system: MoodResultsBySystem, scenes: Sequence[Scene]) -> str:
    """Accuracy by aggregator (rows), size of the group and share of tiny faces."""
    kinds = [*by_group(scenes).items(), *by_tiny_share(scenes).items()]
    names = [f"{name} faces" for name in GROUPS] + [f"tiny: {name}" for name in TINY_SHARES]
    head = [
        "aggregator",
        *(f"{name} ({mask.sum()})" for name, (_, mask) in zip(names, kinds, strict=True)),
    ]
    rows = []
    for aggregator in AGGREGATORS:
        correct = mean_over_systems(by_system, aggregator)
        rows.append([_name(aggregator), *(_with_interval(correct[mask]) for _, mask in kinds)])
    return table(head, rows)


def table_by_mood(by_system: MoodResultsBySystem, scenes: Sequence[Scene]) -> str:
    """Accuracy by aggregator (rows) and mood."""
    counts = count_moods(scenes)
    head = ["aggregator", *(f"{mood} ({number})" for mood, number in counts.items())]
    moods = np.array([each.mood for each in scenes])
    rows = []
    for aggregator in AGGREGATORS:
        correct = mean_over_systems(by_system, aggregator)
        rows.append([_name(aggregator), *(_percent(correct[moods == mood]) for mood in counts)])
    return table(head, rows)


def table_by_filter(by_system: MoodResultsBySystem) -> str:
    """Accuracy by aggregator (rows) and filter."""
    rows = [
        [
            _name(aggregator),
            *(_percent(mean_over_systems(by_system, aggregator, each)) for each in FILTERS),
        ]
        for aggregator in AGGREGATORS
    ]
    return table(["aggregator", *(each.name for each in FILTERS)], rows)


def faces_table(
    results: dict[System, dict[float, Expressions]], found: dict[System, list[SystemResult]]
) -> str:
    """Average precision of single faces by system and IoU (rows), and seconds per image."""
    counts = next(iter(next(iter(results.values())).values())).counts
    head = [*FACES_HEAD, *(f"{name} ({counts[name]})" for name in counts)]
    head += ["seconds per image"]
    rows = []
    for system, by_iou in results.items():
        seconds = float(np.median([each.milliseconds for each in found[system]])) / 1000
        for min_iou, each in by_iou.items():
            values = (
                each.average_precision_of_faces,
                each.mean_average_precision,
                *each.average_precisions.values(),
            )
            cells = [f"{value:.2f}" for value in values]
            rows.append([str(system), str(min_iou), *cells, f"{seconds:.3f}"])
    return table(head, [[cell.replace("nan", "–") for cell in row] for row in rows])


def confusion_table(result: Expressions) -> str:
    """Counts by ground truth (rows) and prediction (columns)."""
    names = (*LABELS, NO_FACE)
    return table(
        ["truth \\ predicted", *names],
        [
            [name, *map(str, row)]
            for name, row in zip(names, result.confusion.tolist(), strict=True)
            if any(row)
        ],
    )


def short_table(by_system: MoodResultsBySystem, scenes: Sequence[Scene]) -> str:
    """The table of docs/accuracy.md: accuracy over all systems, the best aggregator first."""
    masks = by_tiny_share(scenes)
    by_aggregator = {each: mean_over_systems(by_system, each) for each in AGGREGATORS}
    rows = [
        [
            _name(name),
            _with_interval(correct),
            *(_percent(correct[each]) for each in masks.values()),
        ]
        for name, correct in sorted(by_aggregator.items(), key=lambda item: -item[1].mean())
    ]
    return table(SHORT_HEAD, rows)


def plot(by_system: MoodResultsBySystem, scenes: Sequence[Scene], path: Path) -> None:
    """Accuracy of each aggregator over all systems, by the share of tiny faces."""
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    axes = figure.subplots()
    masks = {name: mask for name, mask in by_tiny_share(scenes).items() if mask.any()}
    width = 0.8 / len(masks)
    positions = np.arange(len(AGGREGATORS))
    for index, (name, mask) in enumerate(masks.items()):
        means, errors = [], []
        for aggregator in AGGREGATORS:
            correct = mean_over_systems(by_system, aggregator)[mask]
            low, high = bootstrap_interval(correct)
            means.append(correct.mean())
            errors.append((correct.mean() - low, high - correct.mean()))
        axes.bar(
            positions + (index - (len(masks) - 1) / 2) * width,
            means,
            width,
            yerr=np.array(errors).T,
            capsize=2,
            label=f"{name} ({mask.sum()} scenes)",
        )
    axes.set_xticks(positions, list(AGGREGATORS), rotation=20)
    axes.set(ylim=(0, 1), ylabel="accuracy of the mood")
    axes.grid(alpha=0.3, axis="y")
    figure.legend(loc="outside upper right", ncols=3, frameon=False, title="tiny faces")
    plots.save(figure, path)


def _name(aggregator: str) -> str:
    return f"`{aggregator}`, the default" if aggregator == DEFAULT else f"`{aggregator}`"


def _percent(correct: NDArray[np.float64]) -> str:
    return percent(float(correct.mean()) if len(correct) else None)


def _with_interval(values: NDArray[np.float64], *, signed: bool = False) -> str:
    if not len(values):
        return "–"
    low, high = bootstrap_interval(values)
    if signed:
        return f"{100 * values.mean():+.1f} % ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{100 * values.mean():.1f} % ({100 * low:.1f}–{100 * high:.1f})"
