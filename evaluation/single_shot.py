"""The one-pass network beside detectors with a classifier behind them: faces, expressions, costs.

    python -m evaluation.single_shot --data ../shared/data
    python -m evaluation.single_shot --write  # docs/single-shot.md, charts, docs/accuracy.md, card

Measured is what is served: every picture goes through app.vision.engine, the systems by turns.
Photographs are those of `crowds` (faces marked by people) and `natural`, portraits those of
lfw-expressions, all of the validation split: the network was trained on the other one. Scenes are
made of FER+'s validation faces, pasted on photographs without any; their figures stand apart.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from app.errors import ModelUnavailable
from app.vision.card import SINGLE_SHOT, write_card
from app.vision.folders import read_document
from app.vision.image import ImageFile
from app.vision.kinds import model_folders
from app.vision.single_shot import SingleShotNet
from evaluation import plots
from evaluation.detection import ready
from evaluation.expressions import (
    MAP_IOU,
    NO_FACE,
    SCENES,
    EndToEnd,
    Expressions,
    Shot,
    end_to_end,
    expressions,
    made_scenes,
    portrait_truths,
)
from evaluation.field import FEWEST_PICTURES, MATCH_IOU, MAX_PIXELS, macro
from evaluation.speed import machine
from evaluation.systems import (
    CLASSIFIER,
    DETECTORS,
    EVERYTHING_PX,
    FACES,
    Cost,
    System,
    costs,
    found_faces,
    served_engine,
    shots,
    systems,
)
from testbed.camera_images import camera_images
from testbed.markdown import percent, renew, table
from training.data import DataError
from training.data.photos import (
    Photograph,
    PhotosError,
    Portrait,
    read_photographs,
    read_portraits,
)
from training.data.sources import validation_sources
from training.votes import LABELS

ROUNDS = 15
MEGAPIXELS = 1.0
STAGE_PHOTOGRAPHS = 20
PAGE, SUMMARY = Path("docs/single-shot.md"), Path("docs/accuracy.md")
TRADE = Path("docs/single-shot.png")
PORTRAITS_CONFUSION = Path("docs/single-shot-portraits.png")
SCENES_CONFUSION = Path("docs/single-shot-scenes.png")


def stages(net: SingleShotNet, photographs: Sequence[Photograph], rounds: int) -> str:
    """Median milliseconds of what the network's square costs, by its size; sizes take turns."""
    images = [
        ImageFile(each.path.read_bytes(), max_pixels=MAX_PIXELS).read(color=True).bgr
        for each in photographs[:STAGE_PHOTOGRAPHS]
    ]
    took: dict[int, list[tuple[float, float, float]]] = {size: [] for size in net.card.input_sizes}
    for _ in range(rounds):
        for image in images:
            for size, its in took.items():
                start = time.perf_counter()
                square, _ = net.preprocess(image, size)
                squared = time.perf_counter()
                answers = net.predict(square[np.newaxis])
                predicted = time.perf_counter()
                net.postprocess(answers[0], size)
                its.append((squared - start, predicted - squared, time.perf_counter() - predicted))
    head = ["square", "letterbox", "network", "decode and NMS, NumPy", "together"]
    rows = []
    for size, its in took.items():
        each = 1000 * np.median(its, axis=0)
        together = 1000 * np.median(np.sum(its, axis=1))
        rows.append([f"{size} px", *(f"{ms:.2f}" for ms in (*each, together))])
    return table(head, rows)


def finding_table(found: dict[System, list[Shot]], photographs: Sequence[Photograph]) -> str:
    head = ["system", "ms", "faces", "number", "recall", "precision", "F1", "AP"]
    rows = []
    for system, its in found.items():
        took = np.median([each.milliseconds for each in its])
        for what in FACES:
            each = found_faces(its, photographs, what, MATCH_IOU)
            number = each.true_positives + each.false_negatives
            figures = (each.recall, each.precision, each.f1, each.average_precision)
            rows.append(
                [
                    str(system),
                    f"{took:.1f}",
                    what,
                    str(number),
                    *(f"{value:.2f}" for value in figures),
                ]
            )
    return table(head, [[cell.replace("nan", "–") for cell in row] for row in rows])


def empty_table(found: dict[System, list[Shot]], photographs: Sequence[Photograph]) -> str:
    head = ["system", "false boxes", "of score .6 and more"]
    empty = [index for index, each in enumerate(photographs) if not each.faces]
    rows = []
    for system, its in found.items():
        boxes = [each for index in empty for each in its[index].detections]
        sure = [each for each in boxes if each.score is None or each.score >= 0.6]
        rows.append([str(system), str(len(boxes)), str(len(sure))])
    return table(head, rows)


def expression_table(results: dict[System, Expressions]) -> str:
    counts = next(iter(results.values())).counts
    head = ["system", "faces, AP", "mAP", *(f"{name} ({counts[name]})" for name in counts)]
    return table(
        head,
        [
            [
                str(system),
                f"{each.faces:.2f}",
                f"{each.mean:.2f}",
                *(f"{value:.2f}" for value in each.precisions.values()),
            ]
            for system, each in results.items()
        ],
    )


def portrait_table(results: dict[System, EndToEnd], portraits: Sequence[Portrait]) -> str:
    named = [portrait.expression for portrait in portraits]
    labels = list(next(iter(results.values())).by_expression)
    common = [label for label in labels if named.count(label) >= FEWEST_PICTURES]
    head = ["system", "main face found", "found and named right", f"macro of {len(common)}"]
    head += [f"{label} ({named.count(label)})" for label in labels]
    return table(
        head,
        [
            [
                str(system),
                percent(each.found),
                percent(each.right),
                percent(macro({label: each.by_expression[label] for label in common}))
                if common
                else "–",
                *(percent(each.by_expression[label]) for label in labels),
            ]
            for system, each in results.items()
        ],
    )


def short(
    on_photographs: dict[System, list[Shot]],
    photographs: Sequence[Photograph],
    named: dict[System, EndToEnd],
    cost: dict[System, Cost],
) -> str:
    """The table of docs/accuracy.md: each system with its defaults."""
    head = ["", "faces found", "boxes that are faces", "false boxes where none is"]
    head += ["portraits found *and* named right", "ms for a megapixel"]
    rows = []
    for system, took in cost.items():
        its = on_photographs[system]
        each = found_faces(its, photographs, next(iter(FACES)), MATCH_IOU)
        false = sum(
            len(shot.detections)
            for shot, photograph in zip(its, photographs, strict=True)
            if not photograph.faces
        )
        shares = (percent(each.recall), percent(each.precision), str(false))
        rows.append([str(system), *shares, percent(named[system].right), f"{took.whole:.0f}"])
    return table(head, rows)


def cost_table(found: dict[System, Cost]) -> str:
    head = ["system", "ms", "without reading the file", "times faster than the first"]
    first = next(iter(found.values()))
    return table(
        head,
        [
            [
                str(system),
                f"{each.whole:.1f}",
                f"{each.without_reading:.1f}",
                f"{first.whole / each.whole:.1f} "
                f"({first.without_reading / each.without_reading:.1f})",
            ]
            for system, each in found.items()
        ],
    )


def plot(found: dict[System, list[Shot]], photographs: Sequence[Photograph], path: Path) -> None:
    """Recall of all faces from 20 pixels on against milliseconds a photograph."""
    what = next(iter(FACES))
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.subplots()
    for system, its in found.items():
        each = found_faces(its, photographs, what, MATCH_IOU)
        low, high = each.recall_interval
        around = [[each.recall - low], [high - each.recall]]
        took = float(np.median([shot.milliseconds for shot in its]))
        label = f"{system}: precision {each.precision:.2f}"
        axes.errorbar([took], [each.recall], yerr=around, fmt="o", capsize=3, label=label)
    axes.set(xscale="log", ylim=(0, 1.02), xlabel="milliseconds a photograph, median (log)")
    axes.set_ylabel(f"recall, {what}")
    axes.grid(alpha=0.3, which="both")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    plots.save(figure, path)


_PAGE = """\
# Faces and expressions in one pass

Made by `make evaluate-single-shot`; do not edit. The one-pass networks `single_shot`
([card](../models/single_shot/card.json)) and `yolov3_tiny`
([card](../models/yolov3_tiny/card.json)) beside detectors with `{classifier}` behind them.
Everything is measured as it is served, one thread ({machine}), systems by turns on every image. All
images are of the validation split, on which the networks were chosen and calibrated; they were
trained on the other one.

## Finding faces

{photographs} photographs of `natural` and `crowds`, IoU {iou}; faces that a row does not name
count neither for nor against. The boxes of `natural` come from YuNet and flatter it and its pupils;
those of `crowds` were made by people, who left out some faces in the background. "Any size" asks
for faces from {any_size:.0f} pixels on.

{finding}

[![recall against milliseconds]({trade})]({trade})

On the {empty} photographs without any face:

{false}

## Naming expressions

On {portraits} portraits of lfw-expressions (real photographs, one named face each): average
precision at IoU {map_iou} of faces whatever they show, and of each expression, with the number of
faces.

{real}

Found (IoU {iou}) and named right:

{named}

[![confusion of single_shot alone on portraits]({real_confusion})]({real_confusion})

On {scenes} made scenes, with {faces} faces of FER+'s validation split pasted on photographs:

{made}

[![confusion of single_shot alone on scenes]({made_confusion})]({made_confusion})

## What it costs

Photographs of {megapixels:.0f} megapixel, median of {rounds} rounds of {files} files:

{costs}

Of `single_shot alone` on {stage_photographs} photographs that have been read:

{stages}
"""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--detectors", nargs="+", help=f"of {DETECTORS} all that are ready")
    parser.add_argument("--split", choices=["train", "val"], default="val")
    parser.add_argument("--write", action="store_true", help=f"{PAGE}, its pictures and the card")
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    photos, split = arguments.data / "photos", arguments.split
    engine = served_engine(arguments.models_dir)
    usable = ready(arguments.models_dir)
    networks = [each.name for each in model_folders(arguments.models_dir, SINGLE_SHOT)]
    detectors = arguments.detectors or [name for name in DETECTORS if name in usable]
    asked = systems(detectors, networks)
    usual = [system for system in asked if not system.any_size]
    try:
        photographs = [
            each
            for collection in ("natural", "crowds")
            for each in read_photographs(photos, collection, split=split)
        ]
        portraits = [
            each for each in read_portraits(photos, split=split) if each.expression in LABELS
        ]
        truths = portrait_truths(photos, portraits, split)
        scenes = list(made_scenes(validation_sources(arguments.data)))
        natural = read_photographs(arguments.data / "photos", "natural", split=None)
        faces = (each.path for each in natural if any(face.sure for face in each.faces))
        files = camera_images(faces, MEGAPIXELS)
        on_photographs = shots(engine, asked, (each.path.read_bytes() for each in photographs))
        on_portraits = shots(engine, usual, (each.path.read_bytes() for each in portraits))
        on_scenes = shots(engine, usual, (data for data, _ in scenes))
        stage_table = stages(engine.model(SINGLE_SHOT), photographs, ROUNDS)
        on_large = shots(engine, usual, (data for _ in range(ROUNDS) for data in files))
    except (PhotosError, DataError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error
    real = {system: expressions(on_portraits[system], truths) for system in usual}
    made = {
        system: expressions(on_scenes[system], [truth for _, truth in scenes]) for system in usual
    }
    named = {system: end_to_end(on_portraits[system], portraits) for system in usual}
    text = _PAGE.format(
        classifier=CLASSIFIER,
        machine=machine(),
        photographs=len(photographs),
        iou=MATCH_IOU,
        any_size=EVERYTHING_PX,
        finding=finding_table(on_photographs, photographs),
        trade=TRADE.name,
        empty=sum(not each.faces for each in photographs),
        false=empty_table(on_photographs, photographs),
        portraits=len(portraits),
        map_iou=MAP_IOU,
        real=expression_table(real),
        named=portrait_table(named, portraits),
        real_confusion=PORTRAITS_CONFUSION.name,
        made_confusion=SCENES_CONFUSION.name,
        scenes=SCENES,
        faces=sum(next(iter(made.values())).counts.values()),
        made=expression_table(made),
        megapixels=MEGAPIXELS,
        rounds=ROUNDS,
        files=len(files),
        costs=cost_table(costs(on_large)),
        stage_photographs=STAGE_PHOTOGRAPHS,
        stages=stage_table,
    )
    print(text)
    if arguments.write:
        PAGE.write_text(text, "utf-8")
        block = short(on_photographs, photographs, named, costs(on_large))
        SUMMARY.write_text(renew(SUMMARY.read_text("utf-8"), {"single_shot": block}), "utf-8")
        plot(on_photographs, photographs, TRADE)
        alone = {system.options.model: system for system in usual if system.options.pipeline}
        for path, results in ((PORTRAITS_CONFUSION, real), (SCENES_CONFUSION, made)):
            plots.confusion(
                results[alone[SINGLE_SHOT]].confusion,
                (*LABELS, NO_FACE),
                path,
                f"single_shot: {path.stem}",
            )
        for name, system in alone.items():
            folder = arguments.models_dir / str(name)
            found, answers = on_photographs[system], real[system]
            section = card_section(found, photographs, answers, named[system], split)
            write_card(folder, read_document(folder) | {"evaluation": section})


def card_section(
    found: Sequence[Shot],
    photographs: Sequence[Photograph],
    real: Expressions,
    named: EndToEnd,
    split: str,
) -> dict[str, Any]:
    """What goes on the card: figures of the network alone, asked for faces of the usual size."""
    faces = {}
    for what in FACES:
        each = found_faces(found, photographs, what, MATCH_IOU)
        faces[what] = {
            "faces": each.true_positives + each.false_negatives,
            "recall": round(each.recall, 4),
            "recall_interval_95": [round(end, 4) for end in each.recall_interval],
            "precision": round(each.precision, 4),
            "f1": round(each.f1, 4),
        }
    return {
        "data": f"photographs of natural and crowds, portraits of lfw-expressions, split {split}",
        "command": "make evaluate-single-shot",
        "protocol": f"IoU {MATCH_IOU} for faces, {MAP_IOU} for average precision of expressions",
        "photographs": len(photographs),
        "faces": faces,
        "portraits": sum(real.counts.values()),
        "main_face_found": round(named.found, 4),
        "found_and_named_right": round(named.right, 4),
        "mean_average_precision": round(real.mean, 4),
        "average_precision": {name: round(value, 4) for name, value in real.precisions.items()},
        "note": "the weights were chosen and calibrated on this split",
    }


if __name__ == "__main__":
    main()
