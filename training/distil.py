"""Distillation: train teachers in parallel, then train students on their soft labels.

    python -m training.distil training/configs/custom_net_8.toml training/configs/custom_net_5.toml
    python -m training.distil CONFIG … --seconds 520 --out results

The configurations of the students name the teachers as `teacher_runs`; the configurations of the
teachers are in the same folder. Each network has a separate process, because one small network does
not use a GPU fully. `--seconds` sets the total time and replaces the `minutes` of all
configurations. Averaged weights, figures and logs are written to the folder `--out` during the
training, so an interrupted run leaves results.
"""

import argparse
import contextlib
import multiprocessing
import tarfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from training.config import Config, TrainingError, read_config
from training.data.face_sets import FACES
from training.devices import AUTO, choose_device
from training.runs import CHECKPOINT, RUNS, averaged_weights, read_checkpoint
from training.soft_labels import SOFT_LABELS, write_soft_labels
from training.tasks import load_data
from training.train import Run

LOG = "train.log"
COLLECT_SECONDS = 20.0  # time between two collections of results
TEACHERS_SHARE = 0.42  # share of the teachers in the total time
# Time after the schedule: for the soft labels of a teacher, and for the validation of a student.
LABELLING_SECONDS, FINAL_SECONDS = 25.0, 8.0
GRACE_SECONDS = 20.0  # a process that runs this long after its end time is terminated


def fit(config: Config, device: str, *, is_teacher: bool, end: float | None) -> None:
    """Train one network, and write the soft labels of a teacher. Runs in a separate process.

    Training ends at the time `end` of the monotonic clock, or with the schedule if it is None. The
    log is in the folder of the run.
    """
    folder = RUNS / config.name
    folder.mkdir(parents=True, exist_ok=True)
    with (
        (folder / LOG).open("a", buffering=1) as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        try:
            torch.backends.cudnn.benchmark = True
            torch.set_num_threads(2)
            chosen = choose_device(device)
            data = load_data(Path(), config)
            if end is not None:
                remaining = (
                    end - time.monotonic() - (LABELLING_SECONDS if is_teacher else FINAL_SECONDS)
                )
                config = replace(config, minutes=max(1.0, remaining) / 60)
            run = Run(config, data, folder, chosen)
            run.resume()
            print(f"{config.name} on {chosen}: {run.data.count}, {run.data.source}", flush=True)
            run.fit()
            if is_teacher:
                write_soft_labels(config.name, FACES, chosen)
            print("finished", flush=True)
        except Exception:
            traceback.print_exc()
            raise


class Stage:
    """Networks that are trained in parallel, each in a process, until `end` of the monotonic
    clock."""

    def __init__(
        self, configs: Sequence[Config], device: str, *, is_teacher: bool, end: float | None
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.end = end
        options = {"is_teacher": is_teacher, "end": end}
        self.processes = [
            context.Process(target=fit, args=(config, device), kwargs=options) for config in configs
        ]
        for process in self.processes:
            process.start()

    def wait(self, collector: "Collector") -> None:
        """Wait for all processes and collect results. Terminate processes that are still running
        GRACE_SECONDS after the end."""
        while any(process.is_alive() for process in self.processes):
            if self.end is not None and time.monotonic() > self.end + GRACE_SECONDS:
                break
            for process in self.processes:
                process.join(0.25)
            collector.collect_if_due()
        for process in self.processes:
            if process.is_alive():
                process.terminate()
            process.join()
        collector.collect()


class Collector:
    """Writes the current results of runs to a folder: `<group>.pt` with the averaged weights, the
    configuration and the figures of each run of a group, and `soft_labels_and_logs.tar`."""

    def __init__(self, folder: Path | None, groups: dict[str, list[str]]) -> None:
        self.folder, self.groups = folder, groups
        self.last = time.monotonic()

    def collect_if_due(self) -> None:
        if time.monotonic() - self.last > COLLECT_SECONDS:
            self.collect()

    def collect(self) -> None:
        self.last = time.monotonic()
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for group, names in self.groups.items():
            states = {}
            for name in names:
                with contextlib.suppress(TrainingError):  # no checkpoint yet
                    states[name] = _compact(read_checkpoint(RUNS / name / CHECKPOINT))
            if states:
                temporary = self.folder / f".{group}.tmp"
                torch.save(states, temporary)
                temporary.replace(self.folder / f"{group}.pt")
        temporary = self.folder / ".soft_labels_and_logs.tmp"
        with tarfile.open(temporary, "w") as archive:
            for log in RUNS.glob("*.log"):
                archive.add(log, log.name)
            for name in (name for names in self.groups.values() for name in names):
                for each in (SOFT_LABELS, LOG, "log.csv", "curve.png"):
                    if (RUNS / name / each).exists():
                        archive.add(RUNS / name / each, f"{name}/{each}")
        temporary.replace(self.folder / "soft_labels_and_logs.tar")


def _compact(state: dict[str, object]) -> dict[str, object]:
    """Return the parts of a checkpoint that validation and export need, with 16-bit filters."""
    weights = averaged_weights(state)
    return {
        "weights": {
            key: value.half() if value.ndim > 1 else value for key, value in weights.items()
        },
        **{key: state[key] for key in ("config", "epoch", "seconds", "history")},
    }


def distil(
    students: Sequence[Config],
    teachers: Sequence[Config],
    *,
    device: str,
    seconds: float | None,
    out: Path | None,
) -> None:
    """Train the teachers, then the students. Raises TrainingError if no teacher wrote soft
    labels."""
    start = time.monotonic()
    end = None if seconds is None else start + seconds
    teachers_end = None if seconds is None else start + TEACHERS_SHARE * seconds
    groups = {"students": [each.name for each in students]}
    for each in teachers:
        groups.setdefault(f"teachers_{each.net}", []).append(each.name)
    collector = Collector(out, groups)
    untrained = [each for each in teachers if not (RUNS / each.name / SOFT_LABELS).exists()]
    if untrained:
        Stage(untrained, device, is_teacher=True, end=teachers_end).wait(collector)
    for each in untrained:
        # A process may have been terminated between its last checkpoint and its soft labels.
        if not (RUNS / each.name / SOFT_LABELS).exists():
            with contextlib.suppress(TrainingError):  # without a checkpoint
                write_soft_labels(each.name, FACES, choose_device(device))
    ready = {each.name for each in teachers if (RUNS / each.name / SOFT_LABELS).exists()}
    if not ready and teachers:
        raise TrainingError(f"no teacher wrote soft labels: see the {LOG} of each run")
    usable_students = [
        replace(each, teacher_runs=tuple(name for name in each.teacher_runs if name in ready))
        for each in students
    ]
    Stage(usable_students, device, is_teacher=False, end=end).wait(collector)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", type=Path, nargs="+", help="configurations of the students")
    parser.add_argument("--device", default=AUTO)
    parser.add_argument(
        "--seconds", type=float, help="total time; default: the minutes of each configuration"
    )
    parser.add_argument("--out", type=Path, help="folder for the results")
    arguments = parser.parse_args()
    try:
        students = [read_config(path) for path in arguments.configs]
        folder = arguments.configs[0].parent
        names = dict.fromkeys(name for each in students for name in each.teacher_runs)
        teachers = [read_config(folder / f"{name}.toml") for name in names]
        distil(
            students,
            teachers,
            device=arguments.device,
            seconds=arguments.seconds,
            out=arguments.out,
        )
    except TrainingError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
