"""Compare the single-shot networks with pipelines of a detector and a classifier.

    python -m evaluation.single_shot --data ../shared/data
    python -m evaluation.single_shot --write  # docs/single-shot.md, charts, docs/accuracy.md, card

Every system analyses every image with app.vision.engine, the code of the service; the systems take
turns. The photographs are `crowds` (people drew the boxes of the faces) and `natural`, of the
validation split; the networks were trained on the train split. The portraits are those of
lfw-expressions with two equal readings. Synthetic scenes have faces of FER+'s validation split,
pasted on photographs without faces; their figures are reported separately.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import ModelUnavailable
from app.vision.card import SINGLE_SHOT, write_card
from app.vision.folders import read_document
from app.vision.image import ImageFile
from app.vision.kinds import model_folders
from app.vision.single_shot import SingleShotNet
from evaluation import plots
from evaluation.detection_scores import installed_detectors
from evaluation.expressions import (
    MAP_IOU,
    NO_FACE,
    EndToEnd,
    Expressions,
    SystemResult,
    end_to_end,
    expressions,
    portrait_truths,
    synthetic_scenes,
)
from evaluation.field import MATCH_IOU, MAX_PIXELS, SECTION
from evaluation.single_shot_page import (
    CHART,
    PORTRAITS_CONFUSION,
    SCENES_CONFUSION,
    STAGES_HEAD,
    Measurements,
    plot,
    report,
    short_table,
)
from evaluation.systems import (
    DETECTORS,
    FACE_KINDS,
    System,
    costs,
    run_systems,
    score_kind,
    service_engine,
    systems,
)
from testbed.camera_images import camera_images
from testbed.markdown import renew, table
from training.data import DataError
from training.data.photos import (
    Photograph,
    PhotosError,
    portraits_with_equal_readings,
    read_photographs,
)
from training.data.sources import validation_sources
from training.ferplus_labels import LABELS

ROUNDS = 15
MEGAPIXELS = 1.0
STAGE_PHOTOGRAPHS = 20
PAGE, SUMMARY = Path("docs/single-shot.md"), Path("docs/accuracy.md")
PORTRAITS_DATA = (
    "portraits of lfw-expressions, annotated twice, independently, by a vision-language model, not "
    "by people; only portraits with two equal labels"
)


def stages(net: SingleShotNet, photographs: Sequence[Photograph], rounds: int) -> str:
    """A table with the median milliseconds of each step, by input size. The sizes take turns."""
    images = [
        ImageFile(each.path.read_bytes(), max_pixels=MAX_PIXELS).read(color=True).bgr
        for each in photographs[:STAGE_PHOTOGRAPHS]
    ]
    times: dict[int, list[tuple[float, float, float]]] = {size: [] for size in net.card.input_sizes}
    for _ in range(rounds):
        for image in images:
            for size, of_size in times.items():
                start = time.perf_counter()
                square, _ = net.preprocess(image, size)
                squared = time.perf_counter()
                outputs = net.predict(square[np.newaxis])
                predicted = time.perf_counter()
                net.postprocess(outputs[0], size)
                end = time.perf_counter()
                of_size.append((squared - start, predicted - squared, end - predicted))
    rows = []
    for size, of_size in times.items():
        medians = 1000 * np.median(of_size, axis=0)
        total = 1000 * np.median(np.sum(of_size, axis=1))
        rows.append([f"{size} px", *(f"{each:.2f}" for each in (*medians, total))])
    return table(STAGES_HEAD, rows)


def measure(
    data: Path, models_dir: Path, detectors: list[str] | None, split: str
) -> tuple[Measurements, dict[str, System]]:
    """Run all systems. Return the results, and the system of each network alone by its name.

    Raises PhotosError, DataError or ModelUnavailable.
    """
    photos = data / "photos"
    engine = service_engine(models_dir)
    usable = installed_detectors(models_dir)
    networks = [folder.name for folder in model_folders(models_dir, SINGLE_SHOT)]
    all_systems = systems(detectors or [name for name in DETECTORS if name in usable], networks)
    defaults = [system for system in all_systems if not system.any_size]
    photographs = [
        each
        for collection in ("natural", "crowds")
        for each in read_photographs(photos, collection, split=split)
    ]
    portraits = portraits_with_equal_readings(photos)
    truths = portrait_truths(photos, portraits)
    scenes = list(synthetic_scenes(validation_sources(data)))
    natural = read_photographs(photos, "natural", split=None)
    faces = (each.path for each in natural if any(face.sure for face in each.faces))
    files = camera_images(faces, MEGAPIXELS)
    on_photographs = run_systems(
        engine, all_systems, (each.path.read_bytes() for each in photographs)
    )
    on_portraits = run_systems(engine, defaults, (each.path.read_bytes() for each in portraits))
    on_scenes = run_systems(engine, defaults, (file for file, _ in scenes))
    stage_table = stages(engine.model(SINGLE_SHOT), photographs, ROUNDS)
    on_large = run_systems(engine, defaults, (file for _ in range(ROUNDS) for file in files))
    measured = Measurements(
        photographs=photographs,
        on_photographs=on_photographs,
        portraits=portraits,
        expressions_on_portraits={
            system: expressions(on_portraits[system], truths) for system in defaults
        },
        scenes=len(scenes),
        expressions_on_scenes={
            system: expressions(on_scenes[system], [truth for _, truth in scenes])
            for system in defaults
        },
        end_to_end={system: end_to_end(on_portraits[system], portraits) for system in defaults},
        costs=costs(on_large),
        large_files=len(files),
        stages=stage_table,
    )
    alone = {each.options.model or SINGLE_SHOT: each for each in defaults if each.options.pipeline}
    return measured, alone


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument(
        "--detectors", nargs="+", help=f"default: those of {DETECTORS} with weights"
    )
    parser.add_argument("--split", choices=["train", "val"], default="val")
    parser.add_argument(
        "--write", action="store_true", help=f"write {PAGE}, its charts, {SUMMARY} and the card"
    )
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    try:
        measured, alone = measure(
            arguments.data, arguments.models_dir, arguments.detectors, arguments.split
        )
    except (PhotosError, DataError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error
    text = report(
        measured,
        megapixels=MEGAPIXELS,
        rounds=ROUNDS,
        stage_photographs=STAGE_PHOTOGRAPHS,
    )
    print(text)
    if arguments.write:
        PAGE.write_text(text, "utf-8")
        blocks = {"single_shot": short_table(measured)}
        SUMMARY.write_text(renew(SUMMARY.read_text("utf-8"), blocks), "utf-8")
        plot(measured.on_photographs, measured.photographs, CHART)
        for path, results in (
            (PORTRAITS_CONFUSION, measured.expressions_on_portraits),
            (SCENES_CONFUSION, measured.expressions_on_scenes),
        ):
            plots.confusion(
                results[alone[SINGLE_SHOT]].confusion,
                (*LABELS, NO_FACE),
                path,
                f"single_shot: {path.stem}",
            )
        for name, system in alone.items():
            folder = arguments.models_dir / name
            section = card_section(
                measured.on_photographs[system],
                measured.photographs,
                measured.expressions_on_portraits[system],
                measured.end_to_end[system],
                arguments.split,
            )
            write_card(folder, read_document(folder) | {"evaluation": section})


def card_section(
    found: Sequence[SystemResult],
    photographs: Sequence[Photograph],
    results: Expressions,
    portraits: EndToEnd,
    split: str,
) -> dict[str, Any]:
    """The section `evaluation` of the card: figures of the network alone with its defaults."""
    faces = {}
    for kind in FACE_KINDS:
        each = score_kind(found, photographs, kind, MATCH_IOU)
        faces[kind] = {
            "faces": each.true_positives + each.false_negatives,
            "recall": round(each.recall, 4),
            "recall_interval_95": [round(end, 4) for end in each.recall_interval],
            "precision": round(each.precision, 4),
            "f1": round(each.f1, 4),
        }
    return {
        "data": f"photographs of natural and crowds, split {split}",
        "command": "make evaluate-single-shot",
        "protocol": f"IoU {MATCH_IOU} for faces, {MAP_IOU} for average precision of expressions",
        "photographs": len(photographs),
        "faces": faces,
        SECTION: {
            "data": PORTRAITS_DATA,
            "portraits": sum(results.counts.values()),
            "portraits_by_emotion": results.counts,
            "main_face_found": round(portraits.detection_recall, 4),
            "found_and_named_right": round(portraits.accuracy, 4),
            "mean_average_precision": round(results.mean_average_precision, 4),
            "average_precision": {
                name: round(value, 4) for name, value in results.average_precisions.items()
            },
        },
        "note": "the weights were chosen and calibrated on this split",
    }


if __name__ == "__main__":
    main()
