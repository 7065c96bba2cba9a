"""Measure detection and classification of faces on web photographs.

    python -m evaluation.wild --data ../shared/data
    python -m evaluation.wild --write      # docs/wild.md, its charts, docs/accuracy.md, cards

No model was trained on these photographs. Every system analyses every photograph with
app.vision.engine, the code of the service; the systems take turns. The systems are each detector
with CLASSIFIER, the boxes of single_shot with the other classifiers, and each
single-shot network alone. A box detects a face if their IoU is at least MATCH_IOU; of several boxes
the one with the highest IoU counts. The faces are those of the validation split with two equal
labels. A system is scored on the faces with a label that its model knows.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from app.errors import ModelUnavailable
from app.vision.card import SINGLE_SHOT
from app.vision.engine import Engine
from app.vision.kinds import model_folders
from app.vision.request import AnalysisOptions
from evaluation.detection_scores import installed_detectors
from evaluation.systems import (
    CLASSIFIER,
    DETECTORS,
    System,
    run_systems,
    service_engine,
    single_shot_systems,
)
from evaluation.wild_page import BOXES, PAGE, page, write
from evaluation.wild_scores import WildScores, score_faces
from training.data.split import DataError
from training.data.wild import by_image, read_wild


def systems(
    detectors: Sequence[str], classifiers: Sequence[str], networks: Sequence[str] = (SINGLE_SHOT,)
) -> list[System]:
    """Each detector with CLASSIFIER, BOXES with the other classifiers, and each
    single-shot network alone."""
    pairs = [(name, CLASSIFIER) for name in detectors]
    if BOXES in detectors:
        pairs += [(BOXES, name) for name in classifiers if name != CLASSIFIER]
    return [
        *(
            System(f"{box} + {name}", AnalysisOptions(detector=box, model=name))
            for box, name in pairs
        ),
        *single_shot_systems(networks),
    ]


def measure(engine: Engine, chosen: Sequence[System], data: Path) -> dict[System, WildScores]:
    """Run every system on every photograph with a labelled validation face. Raises DataError."""
    groups = by_image(face for face in read_wild(data, "val") if face.agreed)
    if not groups:
        raise DataError(f"{data} has no labelled validation face")
    found = run_systems(engine, chosen, (path.read_bytes() for path in groups))
    faces = list(groups.values())
    return {system: score_faces(of_system, faces) for system, of_system in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument(
        "--detectors", nargs="+", help=f"default: those of {DETECTORS} with weights"
    )
    parser.add_argument("--models", nargs="+", help="classifiers; default: all")
    parser.add_argument(
        "--write", action="store_true", help=f"write {PAGE}, its charts and the cards"
    )
    arguments = parser.parse_args()
    usable = installed_detectors(arguments.models_dir)
    detectors = arguments.detectors or [name for name in DETECTORS if name in usable]
    names = arguments.models or [each.name for each in model_folders(arguments.models_dir)]
    networks = [each.name for each in model_folders(arguments.models_dir, SINGLE_SHOT)]
    engine = service_engine(arguments.models_dir)
    try:
        scores = measure(engine, systems(detectors, names, networks), arguments.data)
    except (DataError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error
    print(page(scores))
    if arguments.write:
        write(scores, arguments.models_dir)


if __name__ == "__main__":
    main()
