"""How often the mood of a group is right, by every aggregator and filter.

    python -m evaluation.mood --data ../shared/data
    python -m evaluation.mood --write        # docs/mood.md, its chart, docs/accuracy.md

Scenes are made of held-out faces with known labels (FER+'s validation split, lfw-expressions'),
pasted on photographs without any: 2 to 20 of them, 12 to 200 pixels large, a part of them blurred
and noisy, the moods in turn. Every scene goes through app.vision.engine as it is served, the
systems by turns; aggregators and filters then work on what was found, as they do on what is stored.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from app.errors import ModelUnavailable
from app.vision import card
from app.vision.aggregators import AGGREGATORS, DEFAULT
from app.vision.mood import mood_of
from evaluation import plots
from evaluation.detection import ready
from evaluation.expressions import NO_FACE, Expressions, Shot, expressions
from evaluation.metrics import bootstrap_interval
from evaluation.moods import (
    FEWEST_FACES,
    GROUPS,
    HARMED_SHARE,
    SIDE,
    SIDES,
    TINY,
    TINY_SHARES,
    Answers,
    Cast,
    Filter,
    Scene,
    answers,
    by_group,
    by_tiny_share,
    moods_of,
    perfect,
    scene,
)
from evaluation.speed import machine
from evaluation.systems import (
    CLASSIFIER,
    DETECTORS,
    EVERYTHING_PX,
    System,
    served_engine,
    shots,
    systems,
)
from evaluation.transforms import SMALL, Gains, gains, helpful, transforms_table
from testbed.markdown import percent, renew, table
from training.data import DataError, read_split
from training.data.photos import PhotosError, read_portraits
from training.data.sources import CROP_SIDE, FERPLUS, PHOTOS, validation_sources
from training.votes import LABELS

SCENES = 540
EVERYONE = Filter("all faces")
FILTERS = (
    EVERYONE,
    Filter("≥ 24 px", min_face_px=24),
    Filter("≥ 40 px", min_face_px=40),
    Filter("score ≥ .7", min_confidence=0.7),
    Filter("score ≥ .9", min_confidence=0.9),
    Filter("≥ 24 px, score ≥ .7", min_face_px=24, min_confidence=0.7),
)
IOUS = (0.5, 0.4)
PAGE, PICTURE, SUMMARY = Path("docs/mood.md"), Path("docs/mood.png"), Path("docs/accuracy.md")
TOGETHER = "together"

Found = dict[System, list[Shot]]
Everything = dict[System, dict[str, dict[Filter, Answers]]]


def everything(found: Found, scenes: Sequence[Scene]) -> Everything:
    """Every system's answers by aggregator and filter."""
    return {
        system: {
            aggregator: {kept: answers(its, scenes, aggregator, kept) for kept in FILTERS}
            for aggregator in AGGREGATORS
        }
        for system, its in found.items()
    }


def together(given: Everything, aggregator: str, kept: Filter = EVERYONE) -> NDArray[np.float64]:
    """For each scene the share of systems that are right."""
    right: NDArray[np.float64] = np.mean([its[aggregator][kept].right for its in given.values()], 0)
    return right


def best(given: Everything) -> str:
    """The aggregator that is right most often, all systems together and without filters; of equal
    ones the first."""
    return max(AGGREGATORS, key=lambda each: float(together(given, each).mean()))


def overview(given: Everything, scenes: Sequence[Scene]) -> str:
    """A row an aggregator: how often it is right with each system, and all of them together, with
    what that is more than the mean's."""
    head = [
        "aggregator",
        TOGETHER,
        "more than `mean`",
        "distance",
        *map(str, given),
        "on the truth",
    ]
    rows = []
    for aggregator in AGGREGATORS:
        right = together(given, aggregator)
        more = right - together(given, "mean")
        apart = [its[aggregator][EVERYONE].distance.mean() for its in given.values()]
        rows.append(
            [
                _name(aggregator),
                _with_interval(right),
                "–" if not more.any() else _with_interval(more, signed=True),
                f"{np.mean(apart):.3f}",
                *(_percent(its[aggregator][EVERYONE].right) for its in given.values()),
                _percent(perfect(scenes, aggregator)),
            ]
        )
    return table(head, rows)


def by_kind(given: Everything, scenes: Sequence[Scene], kept: Filter = EVERYONE) -> str:
    """A row an aggregator: all systems together, by size of the group and share of tiny faces."""
    kinds = [*by_group(scenes).items(), *by_tiny_share(scenes).items()]
    names = [f"{name} faces" for name in GROUPS] + [f"tiny: {name}" for name in TINY_SHARES]
    head = [
        "aggregator",
        *(f"{n} ({rows.sum()})" for n, (_, rows) in zip(names, kinds, strict=True)),
    ]
    return table(
        head,
        [
            [
                _name(aggregator),
                *(_with_interval(together(given, aggregator, kept)[rows]) for _, rows in kinds),
            ]
            for aggregator in AGGREGATORS
        ],
    )


def by_mood(given: Everything, scenes: Sequence[Scene]) -> str:
    counts = moods_of(scenes)
    head = ["aggregator", *(f"{mood} ({number})" for mood, number in counts.items())]
    named = np.array([each.mood for each in scenes])
    return table(
        head,
        [
            [
                _name(aggregator),
                *(_percent(together(given, aggregator)[named == mood]) for mood in counts),
            ]
            for aggregator in AGGREGATORS
        ],
    )


def by_filter(given: Everything) -> str:
    """A row an aggregator: all systems together, by filter."""
    head = ["aggregator", *(kept.name for kept in FILTERS)]
    return table(
        head,
        [
            [
                _name(aggregator),
                *(_percent(together(given, aggregator, kept)) for kept in FILTERS),
            ]
            for aggregator in AGGREGATORS
        ],
    )


def faces_table(results: dict[System, dict[float, Expressions]], found: Found) -> str:
    """Single faces: average precisions at each IoU, and seconds for a scene."""
    counts = next(iter(next(iter(results.values())).values())).counts
    head = ["system", "IoU", "faces, AP", "mAP", *(f"{name} ({counts[name]})" for name in counts)]
    head += ["seconds a picture"]
    rows = []
    for system, by_iou in results.items():
        took = float(np.median([each.milliseconds for each in found[system]])) / 1000
        for min_iou, each in by_iou.items():
            values = (each.faces, each.mean, *each.precisions.values())
            cells = [f"{value:.2f}" for value in values]
            rows.append([str(system), str(min_iou), *cells, f"{took:.3f}"])
    return table(head, [[cell.replace("nan", "–") for cell in row] for row in rows])


def confusion_table(result: Expressions) -> str:
    """Counts by truth (rows) and answer (columns)."""
    names = (*LABELS, NO_FACE)
    return table(
        ["shown \\ named", *names],
        [
            [name, *map(str, row)]
            for name, row in zip(names, result.confusion.tolist(), strict=True)
            if any(row)
        ],
    )


def pooling_milliseconds(found: Found) -> float:
    """The median over scenes and aggregators of making a mood of what was found."""
    took = []
    for shot in next(iter(found.values())):
        for aggregator in AGGREGATORS:
            start = time.perf_counter()
            mood_of(shot.analysis.faces, aggregator)
            took.append(1000 * (time.perf_counter() - start))
    return float(np.median(took))


def short(given: Everything, scenes: Sequence[Scene]) -> str:
    """The table of docs/accuracy.md: the mean over all systems."""
    shares = by_tiny_share(scenes)
    head = ["aggregator", "moods named right", *(f"tiny faces: {name}" for name in shares)]
    ordered = sorted(AGGREGATORS, key=lambda each: -together(given, each).mean())
    return table(
        head,
        [
            [
                _name(each),
                _with_interval(together(given, each)),
                *(_percent(together(given, each)[rows]) for rows in shares.values()),
            ]
            for each in ordered
        ],
    )


def plot(given: Everything, scenes: Sequence[Scene], path: Path) -> None:
    """How often each aggregator is right, by the share of tiny faces, all systems together."""
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    axes = figure.subplots()
    shares = {name: rows for name, rows in by_tiny_share(scenes).items() if rows.any()}
    width = 0.8 / len(shares)
    places = np.arange(len(AGGREGATORS))
    for index, (name, rows) in enumerate(shares.items()):
        means, around = [], []
        for aggregator in AGGREGATORS:
            right = together(given, aggregator)[rows]
            low, high = bootstrap_interval(right)
            means.append(right.mean())
            around.append((right.mean() - low, high - right.mean()))
        axes.bar(
            places + (index - (len(shares) - 1) / 2) * width,
            means,
            width,
            yerr=np.array(around).T,
            capsize=2,
            label=f"{name} ({rows.sum()} scenes)",
        )
    axes.set_xticks(places, list(AGGREGATORS), rotation=20)
    axes.set(ylim=(0, 1), ylabel="moods named right")
    axes.grid(alpha=0.3, axis="y")
    figure.legend(loc="outside upper right", ncols=3, frameon=False, title="tiny faces")
    plots.save(figure, path)


def _name(aggregator: str) -> str:
    return f"`{aggregator}`, the default" if aggregator == DEFAULT else f"`{aggregator}`"


def _percent(right: NDArray[np.float64]) -> str:
    return percent(float(right.mean()) if len(right) else None)


def _with_interval(values: NDArray[np.float64], *, signed: bool = False) -> str:
    if not len(values):
        return "–"
    low, high = bootstrap_interval(values)
    if signed:
        return f"{100 * values.mean():+.1f} % ({100 * low:+.1f} to {100 * high:+.1f})"
    return f"{100 * values.mean():.1f} % ({100 * low:.1f}–{100 * high:.1f})"


_PAGE = """\
# The mood of a group

Made by `make evaluate-mood`; do not edit. **The truth of a group is made from the labels of its
faces**, for no labels by people who looked at whole groups are at hand: what is measured is how
well an aggregator makes up for faces that are missed, misread or none, not whether people would
agree with it. Wherever it is, each face counts alike in the truth, so weights by size or place gain
only by trusting the faces that are read better; in the eyes of people larger and more central faces
may count more, and that is not measured here.

{scenes} scenes of {side} × {side} pixels, {faces} faces: held-out faces of FER+'s validation split
and of lfw-expressions' pasted on photographs without any, {groups} to a scene in turn, {low:.0f} to
{high:.0f} pixels large (log-uniform, in a third of the scenes none under {tiny:.0f}, in a third
none over {most:.0f}), {harmed:.0%} of them blurred and noisy. The moods take turns; those that
fewer than {fewest} held-out faces show are left out. In a scene 40 to 100 % of the faces show its
mood, more than any other. The same faces come in many scenes, and the models were chosen and
calibrated on these splits, so all figures are a little flattering; intervals (95 %, bootstrap) draw
whole scenes. A mood that is not found at all counts as wrong.

Systems are asked for faces from {any_px:.0f} pixels on ("any size"), and the default one also as it
is unless told otherwise, from 5 % of the longer side.

## Aggregators

The share of moods that are named right, all faces used; "{together}" is the mean of the systems.
The distance is half the sum of the differences between the answer's distribution and the mean of
what people say of the faces, mean over systems. "On the truth" is each aggregator on perfect faces:
what it lacks there, it lacks by its rule. Right most often here: `{best}`.
The exponent of the size in `quality` and the least probability in `logpool` were chosen on 330
other scenes of the same faces.

{overview}

[![moods named right, by aggregator and share of tiny faces]({picture})]({picture})

By the number of faces and by the share of tiny ones (under {tiny:.0f} pixels), all systems
together, with the number of scenes:

{by_kind}

By mood:

{by_mood}

## Filters

All systems together, of all scenes: those that a filter leaves without any face count as wrong.

{by_filter}

## Single faces

Average precision by expression as IoU says that a face is found: ranked by detection score times
probability, one truth for one answer, area under the monotone envelope; with the number of faces.
Seconds are medians of one thread on {machine}, reading the file included. For orientation: the
author of EmoSense reports an mAP of about .31 on photographs of his own and .23 seconds a picture
on a desktop GPU, which can be compared with neither.

{faces_table}

To make a mood of faces that were found takes {pooling:.2f} ms (median over aggregators).

{confusions}

## Small faces

EmoSense tried super-resolution between crop and classifier. Here held-out faces are shrunk to a
size (longer side of the box, given) and named by `{classifier}` after a transform of the crop:
local contrast (`clahe`), enlarging by cubic splines, and that with an unsharp mask. In brackets how
much more are right than without any, in points (95 %, bootstrap over faces). What helps with both
sets of faces up to {small} pixels, beyond chance, is worth an option of the service: {helpful}.

{transforms}
"""


def report(
    given: Everything,
    found: Found,
    scenes: Sequence[Scene],
    results: dict[System, dict[float, Expressions]],
    of_small: Gains,
) -> str:
    confusions = [
        f"What `{system}` names each face (IoU {IOUS[-1]} makes it found):\n\n"
        f"{confusion_table(results[system][IOUS[0]])}\n"
        for system in given
    ]
    return _PAGE.format(
        scenes=len(scenes),
        side=SIDE,
        faces=sum(each.faces for each in scenes),
        groups=", ".join(GROUPS),
        low=min(low for low, _ in SIDES),
        high=max(high for _, high in SIDES),
        most=min(high for _, high in SIDES),
        harmed=HARMED_SHARE,
        fewest=FEWEST_FACES,
        tiny=TINY,
        any_px=EVERYTHING_PX,
        together=TOGETHER,
        best=best(given),
        overview=overview(given, scenes),
        picture=PICTURE.name,
        by_kind=by_kind(given, scenes),
        by_mood=by_mood(given, scenes),
        by_filter=by_filter(given),
        machine=machine(),
        faces_table=faces_table(results, found),
        pooling=pooling_milliseconds(found),
        confusions="\n".join(confusions).rstrip(),
        classifier=CLASSIFIER,
        small=SMALL,
        helpful=", ".join(f"`{each}`" for each in helpful(of_small)) or "none of them does",
        transforms=transforms_table(of_small),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--detectors", nargs="+", help=f"of {DETECTORS} all that are ready")
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--write", action="store_true", help=f"{PAGE}, its chart, {SUMMARY}")
    arguments = parser.parse_args()
    engine = served_engine(arguments.models_dir)
    usable = ready(arguments.models_dir)
    asked = systems(arguments.detectors or [name for name in DETECTORS if name in usable])
    asked = [asked[0], *(each for each in asked if each.any_size)]
    try:
        cast = Cast.of(validation_sources(arguments.data))
        scenes = [scene(cast, number) for number in range(arguments.scenes)]
        found = shots(engine, asked, (each.file for each in scenes))
        of_small = gains(
            engine.model(card.CLASSIFIER, CLASSIFIER),
            read_split(arguments.data / FERPLUS, "valid", size=CROP_SIDE),
            read_portraits(arguments.data / PHOTOS, split="val"),
        )
    except (PhotosError, DataError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error
    truths = [each.truth for each in scenes]
    results = {
        system: {min_iou: expressions(its, truths, min_iou=min_iou) for min_iou in IOUS}
        for system, its in found.items()
    }
    given = everything(found, scenes)
    text = report(given, found, scenes, results, of_small)
    print(text)
    if arguments.write:
        PAGE.write_text(text, "utf-8")
        blocks = {"mood": short(given, scenes)}
        SUMMARY.write_text(renew(SUMMARY.read_text("utf-8"), blocks), "utf-8")
        plot(given, scenes, PICTURE)


if __name__ == "__main__":
    main()
