"""Make a run out of the weights that a timed run on a GPU left, so that they can be exported.

    python -m training.detection.adopt training/configs/single_shot.toml runs/gpu
    python -m training.export training/configs/single_shot.toml

Measures the weights on the validation split and writes `checkpoint.pt`, `log.csv` and `curve.png`
to runs/<name>/.
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
    """Raises TrainingError where `folder` holds no weights of the config's net."""
    config = read_config(config_path)
    target = RUNS / config.name
    if (target / CHECKPOINT).exists():
        raise TrainingError(f"{target / CHECKPOINT} is there; move it away first")
    weights = read_weights(folder, config.net, part=part)
    run = Run(replace(config, start=""), load_data(data_folder, config, taught=False), target)
    run.config = config
    try:
        for net in (run.net, run.average.module):
            net.load_state_dict(weights)
    except RuntimeError as error:
        raise TrainingError(f"the weights are of another net: {error}") from error
    log = read_log(folder, config.net)
    run.epoch, run.seconds = config.epochs, log[-1].seconds if log else 0.0
    run.average.eval()
    figures = run.data.validate(run)
    rows = log or []
    run.history = [
        {"epoch": row.step, "minutes": row.seconds / 60, "loss": row.loss} | figures
        for row in rows[-1:]
    ] or [{"epoch": config.epochs, "minutes": 0.0, "loss": 0.0} | figures]
    run.save()
    print("  ".join(f"{key} {value:.4g}" for key, value in figures.items()))


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
