"""Measure the accuracy of the mood of a group, by aggregator and filter.

    python -m evaluation.mood --data ../shared/data
    python -m evaluation.mood --write        # docs/mood.md with its chart, docs/accuracy.md

Synthetic scenes have 2 to 20 held-out faces with known labels (evaluation.mood_scenes). Every
system analyses every scene with app.vision.engine, the code of the service; the systems take
turns. The aggregators and filters are then applied to the detected faces, as they are to stored
faces.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from app.errors import ModelUnavailable
from app.vision import card
from app.vision.aggregators import AGGREGATORS
from app.vision.mood import mood_of
from evaluation.detection_scores import installed_detectors
from evaluation.expressions import SystemResult, expressions
from evaluation.mood_page import CHART, IOUS, Measurements, report
from evaluation.mood_results import mood_results_by_system
from evaluation.mood_scenes import SceneMaterial, scene
from evaluation.mood_tables import plot, short_table
from evaluation.systems import CLASSIFIER, DETECTORS, System, run_systems, service_engine, systems
from evaluation.transforms import measure_transforms
from testbed.markdown import renew
from training.data import DataError, read_split
from training.data.annotated_images import read_portraits_with_equal_readings
from training.data.photos import PhotosError, portraits_with_equal_readings
from training.data.scenes import Collection
from training.data.sources import CROP_SIDE, FERPLUS, PHOTOS, validation_sources

SCENES = 540
PAGE, SUMMARY = Path("docs/mood.md"), Path("docs/accuracy.md")


def aggregation_milliseconds(found: dict[System, list[SystemResult]]) -> float:
    """The median time of aggregating the faces of a scene, over scenes and aggregators."""
    times = []
    for result in next(iter(found.values())):
        for aggregator in AGGREGATORS:
            start = time.perf_counter()
            mood_of(result.analysis.faces, aggregator)
            times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times))


def measure(data: Path, models_dir: Path, detectors: list[str] | None, count: int) -> Measurements:
    """Run the systems on `count` scenes.

    Raises PhotosError, DataError or ModelUnavailable.
    """
    engine = service_engine(models_dir)
    usable = installed_detectors(models_dir)
    default, *others = systems(detectors or [name for name in DETECTORS if name in usable])
    chosen = [default, *(each for each in others if each.any_size)]
    portraits = Collection.of(read_portraits_with_equal_readings(data / PHOTOS))
    material = SceneMaterial.of(replace(validation_sources(data), portraits=portraits))
    scenes = [scene(material, number) for number in range(count)]
    found = run_systems(engine, chosen, (each.file for each in scenes))
    truths = [each.truth for each in scenes]
    return Measurements(
        scenes=scenes,
        found=found,
        moods=mood_results_by_system(found, scenes),
        expressions={
            system: {min_iou: expressions(of_system, truths, min_iou=min_iou) for min_iou in IOUS}
            for system, of_system in found.items()
        },
        small_faces=measure_transforms(
            engine.model(card.CLASSIFIER, CLASSIFIER),
            read_split(data / FERPLUS, "valid", size=CROP_SIDE),
            portraits_with_equal_readings(data / PHOTOS),
        ),
        aggregation_ms=aggregation_milliseconds(found),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument(
        "--detectors", nargs="+", help=f"default: those of {DETECTORS} whose weights exist"
    )
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument(
        "--write", action="store_true", help=f"write {PAGE}, its chart and the table in {SUMMARY}"
    )
    arguments = parser.parse_args()
    try:
        measured = measure(
            arguments.data, arguments.models_dir, arguments.detectors, arguments.scenes
        )
    except (PhotosError, DataError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error
    text = report(measured)
    print(text)
    if arguments.write:
        PAGE.write_text(text, "utf-8")
        blocks = {"mood": short_table(measured.moods, measured.scenes)}
        SUMMARY.write_text(renew(SUMMARY.read_text("utf-8"), blocks), "utf-8")
        plot(measured.moods, measured.scenes, CHART)


if __name__ == "__main__":
    main()
