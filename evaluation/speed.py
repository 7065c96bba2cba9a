"""Measure the run time per face, the loading time and the memory of classifiers.

    python -m evaluation.speed              # a table of all models, with ratios to the first
    python -m evaluation.speed --write      # also writes the cards, with the name of this machine

Inference uses one thread. The models take turns in every round, so other load on the machine slows
all of them equally. All figures are medians. Loading and memory are measured in a new process for
each model.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from app.errors import ModelUnavailable
from app.vision.card import write_card
from app.vision.classifier import Classifier, ClassifierCard
from app.vision.kinds import model_folders

BATCHES = (1, 32)
ROUNDS = 40
CALLS = {1: 25, 32: 1}  # consecutive calls per round, by batch size
_LOADING = """
import json, sys, time
from pathlib import Path
import numpy as np
from app.vision.classifier import Classifier
from testbed.processes import resident_mb

before = resident_mb()
start = time.perf_counter()
classifier = Classifier.load(Path(sys.argv[1]))
seconds = time.perf_counter() - start
size = classifier.card.input_size
for faces in (1, 32):
    classifier.predict(np.zeros((faces, size, size), np.uint8))
print(json.dumps({"load_ms": 1000 * seconds, "resident_mb": resident_mb() - before}))
"""


@dataclass(frozen=True)
class Speed:
    """Medians.

    `resident_mb` is the growth of the process by loading the model and classifying 1 and 32 faces.
    It includes the memory of ONNX Runtime.
    """

    ms_a_face: float
    ms_a_face_in_32: float
    load_ms: float
    resident_mb: float


def measure(folders: list[Path], *, rounds: int = ROUNDS) -> dict[str, Speed]:
    """Speed by the name of the model. Raises ModelUnavailable."""
    classifiers = {folder: Classifier.load(folder) for folder in folders}
    generator = np.random.default_rng(0)
    times: dict[tuple[Path, int], list[float]] = {}
    for _ in range(rounds):
        for folder, classifier in classifiers.items():
            size = classifier.card.input_size
            for batch in BATCHES:
                crops = generator.integers(0, 256, (batch, size, size), np.uint8)
                start = time.perf_counter()
                for _ in range(CALLS[batch]):
                    classifier.predict(crops)
                seconds = time.perf_counter() - start
                times.setdefault((folder, batch), []).append(seconds / CALLS[batch] / batch)
    return {
        classifier.card.name: Speed(
            *(1000 * float(np.median(times[folder, batch])) for batch in BATCHES),
            **loading(folder),
        )
        for folder, classifier in classifiers.items()
    }


def loading(folder: Path, *, rounds: int = 5) -> dict[str, float]:
    """Median milliseconds and megabytes of new processes that load the model."""
    found = [
        json.loads(
            subprocess.run(  # noqa: S603  our own interpreter and code
                [sys.executable, "-c", _LOADING, str(folder)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for _ in range(rounds)
    ]
    return {key: float(np.median([each[key] for each in found])) for key in found[0]}


def machine() -> str:
    """The name of the processor from /proc/cpuinfo, or "unknown"."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="*", default=model_folders(Path("models")))
    parser.add_argument("--write", action="store_true", help="write the figures to the cards")
    arguments = parser.parse_args()
    try:
        speeds = measure(arguments.models)
    except ModelUnavailable as error:
        raise SystemExit(f"error: {error}") from error
    baseline = next(iter(speeds.values()))
    print(f"one thread, {machine()}; ratios to {next(iter(speeds))}")
    print(f"{'model':<22}{'ms, batch 1':>18}{'ms per face in 32':>18}{'load ms':>9}{'MB':>7}")
    for name, speed in speeds.items():
        single = f"{speed.ms_a_face:.3f} ({speed.ms_a_face / baseline.ms_a_face:.2f})"
        many = (
            f"{speed.ms_a_face_in_32:.3f} ({speed.ms_a_face_in_32 / baseline.ms_a_face_in_32:.2f})"
        )
        print(f"{name:<22}{single:>18}{many:>18}{speed.load_ms:>9.0f}{speed.resident_mb:>7.0f}")
    if arguments.write:
        for folder in arguments.models:
            card = ClassifierCard.read(folder)
            figures = {key: round(value, 3) for key, value in asdict(speeds[card.name]).items()}
            section = figures | {"threads": 1, "machine": machine(), "command": "make speed"}
            write_card(folder, card.document | {"speed": section})


if __name__ == "__main__":
    main()
