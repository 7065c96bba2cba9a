"""Make a run out of the weights that a timed run on a GPU left, so that they can be exported.

    python -m training.detection.adopt training/configs/single_shot.toml runs/gpu
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
from training.detection.timed import AVERAGE, SNAPSHOT_PART, read_log, read_weights
from training.runs import CHECKPOINT, RUNS
from training.tasks import load_data
from training.train import Run


def adopt(config_path: Path, folder: Path, data_folder: Path, part: str) -> None:
    """Write the run. Raises TrainingError where `folder` holds no weights or log of the config's
    net."""
    config = read_config(config_path)
    target = RUNS / config.name
    if (target / CHECKPOINT).exists():
        raise TrainingError(f"{target / CHECKPOINT} is there; move it away first")
    weights = read_weights(folder, config.name, part=part)
    run = Run(replace(config, pretrained=""), load_data(data_folder, config, taught=False), target)
    run.config = config
    try:
        for net in (run.net, run.average.module):
            net.load_state_dict(weights)
    except RuntimeError as error:
        raise TrainingError(f"the weights are of another net: {error}") from error
    log = read_log(folder, config.name)
    if not log:
        raise TrainingError(f"{folder} holds no log of {config.name}")
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
    parser.add_argument("folder", type=Path, help="where the timed run wrote to")
    parser.add_argument("--part", choices=(AVERAGE, SNAPSHOT_PART), default=AVERAGE)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    try:
        adopt(arguments.config, arguments.folder, arguments.data, arguments.part)
    except (TrainingError, DataError, PhotosError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
