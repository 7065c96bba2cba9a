"""Import a run from the results of training.distil, for example from another machine.

    python -m training.import_run out/students.pt custom_net_8 training/configs/custom_net_8.toml

Writes the averaged weights, the log and the learning curve to runs/<name of the configuration>/.
training.export can then export the run. The configuration must have the same network as the run in
the results. It should also have the same settings, because they are written to the model card.
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
    """Import and save the run. Raises TrainingError if the results do not contain the run, if the
    networks differ, or if the run already has a checkpoint."""
    config = read_config(config_path)
    folder = RUNS / config.name
    if (folder / CHECKPOINT).exists():
        raise TrainingError(f"{folder / CHECKPOINT} exists; move it first")
    try:
        states: dict[str, dict[str, Any]] = torch.load(results, weights_only=True)
    except Exception as error:  # torch raises several unrelated types
        raise TrainingError(f"{results} cannot be read: {error}") from error
    if name not in states:
        raise TrainingError(f"{results} has no run {name!r}, only {', '.join(states)}")
    state = states[name]
    run = Run(config, load_data(data, config, with_teachers=False), folder)
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
    parser.add_argument("name", help="name of the run in the file")
    parser.add_argument("config", type=Path, help="configuration of the imported run")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    arguments = parser.parse_args()
    try:
        run = import_run(arguments.results, arguments.name, arguments.config, arguments.data)
    except (TrainingError, DataError) as error:
        raise SystemExit(f"error: {error}") from error
    print(f"{run.folder}: {run.epoch} epochs, {run.history[-1] if run.history else 'no figures'}")


if __name__ == "__main__":
    main()
