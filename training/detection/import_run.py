"""Import a run from the results of training.detection.train, so that it can be exported.

    python -m training.detection.import_run training/configs/single_shot.toml runs/gpu
    python -m training.export training/configs/single_shot.toml

Writes `checkpoint.pt`, `log.csv` and `curve.png` (the losses) to runs/<name>/.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from app.errors import ModelUnavailable
from training.config import TrainingError, read_config
from training.data import DataError
from training.data.photos import PhotosError
from training.detection.results import AVERAGE, SNAPSHOT, read_log, read_weights
from training.runs import CHECKPOINT, RUNS
from training.tasks import load_data
from training.train import Run


def import_run(config_path: Path, folder: Path, data_folder: Path, part: str) -> None:
    """Write the run. Raises TrainingError if `folder` has no weights or no log of the network, or
    if the run exists."""
    config = read_config(config_path)
    target = RUNS / config.name
    if (target / CHECKPOINT).exists():
        raise TrainingError(f"{target / CHECKPOINT} exists; move it first")
    weights = read_weights(folder, config.name, part=part)
    run = Run(
        replace(config, pretrained=""), load_data(data_folder, config, with_teachers=False), target
    )
    run.config = config
    try:
        for net in (run.net, run.average.module):
            net.load_state_dict(weights)
    except RuntimeError as error:
        raise TrainingError(f"the configuration has another network: {error}") from error
    log = read_log(folder, config.name)
    if not log:
        raise TrainingError(f"{folder} has no log of {config.name}")
    run.epoch, run.seconds = config.epochs, log[-1].seconds
    run.history = [
        {
            "epoch": round(config.epochs * row.step / log[-1].step, 4),
            "minutes": round(row.seconds / 60, 2),
            "loss": round(row.loss, 4),
        }
        for row in log
    ]
    run.save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("folder", type=Path, help="folder with the results")
    parser.add_argument("--part", choices=(AVERAGE, SNAPSHOT), default=AVERAGE)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    try:
        import_run(arguments.config, arguments.folder, arguments.data, arguments.part)
    except (TrainingError, DataError, PhotosError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
