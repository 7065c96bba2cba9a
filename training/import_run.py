"""Turn results of training.distil, from this machine or another, into a run.

    python -m training.import_run out/students.pt custom_net_8 training/configs/custom_net_8.toml

Writes runs/<name of the config>/ with the averaged weights, the log and the learning curve, so that
training.export can turn it into model folders. The config must describe the same network as the run
in the results; its other settings should be those of that run, which its card will state.
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from training.config import TrainingError, read_config
from training.data import DataError
from training.runs import CHECKPOINT, RUNS
from training.tasks import load_data
from training.train import Run


def import_run(results: Path, name: str, config_path: Path, data: Path) -> Run:
    """The run, saved. Raises TrainingError where the results hold no such run, where its network is
    another one, or where a checkpoint is in the way."""
    config = read_config(config_path)
    folder = RUNS / config.name
    if (folder / CHECKPOINT).exists():
        raise TrainingError(f"{folder / CHECKPOINT} exists; move it away first")
    try:
        states: dict[str, dict[str, Any]] = torch.load(results, weights_only=True)
    except Exception as error:  # torch raises half a dozen unrelated types here
        raise TrainingError(f"{results} holds no results: {error}") from error
    if name not in states:
        raise TrainingError(f"{results} holds no run {name!r}, only {', '.join(states)}")
    state = states[name]
    run = Run(config, load_data(data, config, taught=False), folder)
    try:
        for net in (run.average.module, run.net):
            net.load_state_dict({key: value.float() for key, value in state["weights"].items()})
    except RuntimeError as error:
        raise TrainingError(f"{config_path} describes another network: {error}") from error
    run.epoch, run.seconds, run.history = state["epoch"], state["seconds"], state["history"]
    run.save()
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="a .pt file that training.distil wrote")
    parser.add_argument("name", help="of the run in it")
    parser.add_argument("config", type=Path, help="that the run goes on with")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    try:
        run = import_run(arguments.results, arguments.name, arguments.config, arguments.data)
    except (TrainingError, DataError) as error:
        raise SystemExit(f"error: {error}") from error
    print(f"{run.folder}: {run.epoch} epochs, {run.history[-1] if run.history else 'no figures'}")


if __name__ == "__main__":
    main()
