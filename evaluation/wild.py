"""Faces of web photographs that no system was trained on: how many are found and named right.

    python -m evaluation.wild --data ../shared/data
    python -m evaluation.wild --write      # docs/wild.md, its pictures, docs/accuracy.md, cards

Every photograph goes through app.vision.engine as it is served, the systems by turns: each detector
with CLASSIFIER behind it, single_shot's boxes with every other classifier, and
single_shot alone. A face is found when a box overlaps it with an IoU of at least MATCH_IOU; of
several boxes the one that overlaps it most counts. Faces are those of the validation split whose
two readings agree. A system is asked about the faces whose label its model knows.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from app.errors import ModelUnavailable
from app.vision.card import SINGLE_SHOT
from app.vision.engine import Engine
from app.vision.kinds import model_folders
from app.vision.request import AnalysisOptions
from evaluation.detection_scores import ready
from evaluation.named_faces import Outcome, outcome
from evaluation.systems import (
    CLASSIFIER,
    DETECTORS,
    System,
    served_engine,
    shots,
    single_shot_systems,
)
from evaluation.wild_page import BOXES, PAGE, page, write
from training.data.split import DataError
from training.data.wild import WildFace, read_wild


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


def measure(engine: Engine, asked: Sequence[System], data: Path) -> dict[System, Outcome]:
    """Every system on every photograph with a labelled validation face. Raises DataError."""
    by_path: dict[Path, list[WildFace]] = {}
    for face in read_wild(data, "val"):
        if face.agreed:
            by_path.setdefault(face.path, []).append(face)
    if not by_path:
        raise DataError(f"{data} holds no labelled validation face")
    made = shots(engine, asked, (path.read_bytes() for path in by_path))
    return {system: outcome(its, list(by_path.values())) for system, its in made.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--detectors", nargs="+", help=f"of {DETECTORS} all that are ready")
    parser.add_argument("--models", nargs="+", help="classifiers, all unless given")
    parser.add_argument("--write", action="store_true", help=f"{PAGE}, its pictures and the cards")
    arguments = parser.parse_args()
    usable = ready(arguments.models_dir)
    detectors = arguments.detectors or [name for name in DETECTORS if name in usable]
    names = arguments.models or [each.name for each in model_folders(arguments.models_dir)]
    networks = [each.name for each in model_folders(arguments.models_dir, SINGLE_SHOT)]
    engine = served_engine(arguments.models_dir)
    try:
        outcomes = measure(engine, systems(detectors, names, networks), arguments.data)
    except (DataError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error
    print(page(outcomes))
    if arguments.write:
        write(outcomes, arguments.models_dir)


if __name__ == "__main__":
    main()
