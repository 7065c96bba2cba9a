"""Train networks that teach, side by side, then the networks that learn from their answers.

    python -m training.distil training/configs/custom_net_8.toml training/configs/custom_net_5.toml
    python -m training.distil CONFIG … --seconds 520 --out results

The teachers are the runs that the configs name as `teacher_runs`; their configs lie beside. Each
network has a process of its own, because several small networks share a GPU better than one fills
it. With `--seconds`, teachers and students share that time, whatever `minutes` their configs say.
The averaged weights, figures and logs are written to the folder `--out` as they come, so a run that
is cut off leaves what it has.
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

from training.answers import ANSWERS, write_answers
from training.config import Config, TrainingError, read_config
from training.data.face_sets import FACES
from training.learning import AUTO, choose_device
from training.runs import CHECKPOINT, RUNS, averaged_weights, read_checkpoint
from training.tasks import load_data
from training.train import Run

LOG = "train.log"
COLLECT_EACH = 20.0  # seconds
TEACHERS_SHARE = 0.42  # of the time; the students have the rest
ANSWERING, LAST_FIGURES = 25.0, 8.0  # seconds kept for what follows the schedule
GRACE = 20.0  # seconds after its time that a process is given before it is ended


def fit(config: Config, device: str, *, teaches: bool, end: float | None) -> None:
    """Train one network until `end` of the monotonic clock, else as long as the config says. Its
    log lies beside its checkpoint. A network that teaches is then asked about the faces. Meant as
    the target of a process."""
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
                left = end - time.monotonic() - (ANSWERING if teaches else LAST_FIGURES)
                config = replace(config, minutes=max(1.0, left) / 60)
            run = Run(config, data, folder, chosen)
            run.resume()
            print(f"{config.name} on {chosen}: {run.data.count}, {run.data.source}", flush=True)
            run.fit()
            if teaches:
                write_answers(config.name, FACES, chosen)
            print("finished", flush=True)
        except Exception:
            traceback.print_exc()
            raise


class Stage:
    """Networks that train side by side until a time of the monotonic clock."""

    def __init__(
        self, configs: Sequence[Config], device: str, *, teaches: bool, end: float | None
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.end = end
        options = {"teaches": teaches, "end": end}
        self.processes = [
            context.Process(target=fit, args=(config, device), kwargs=options) for config in configs
        ]
        for process in self.processes:
            process.start()

    def wait(self, collect: "Collector") -> None:
        """Wait for all, collecting results meanwhile; end those that take GRACE longer."""
        while any(process.is_alive() for process in self.processes):
            if self.end is not None and time.monotonic() > self.end + GRACE:
                break
            for process in self.processes:
                process.join(0.25)
            collect.now_and_then()
        for process in self.processes:
            if process.is_alive():
                process.terminate()
            process.join()
        collect.now()


class Collector:
    """Writes what runs have so far to a folder: `<group>.pt` with the averaged weights, the config
    and the figures of each run of a group, and `answers_and_logs.tar`."""

    def __init__(self, folder: Path | None, groups: dict[str, list[str]]) -> None:
        self.folder, self.groups = folder, groups
        self.last = time.monotonic()

    def now_and_then(self) -> None:
        if time.monotonic() - self.last > COLLECT_EACH:
            self.now()

    def now(self) -> None:
        self.last = time.monotonic()
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for group, names in self.groups.items():
            states = {}
            for name in names:
                with contextlib.suppress(TrainingError):  # no checkpoint yet
                    states[name] = _small(read_checkpoint(RUNS / name / CHECKPOINT))
            if states:
                temporary = self.folder / f".{group}.tmp"
                torch.save(states, temporary)
                temporary.replace(self.folder / f"{group}.pt")
        temporary = self.folder / ".answers_and_logs.tmp"
        with tarfile.open(temporary, "w") as archive:
            for log in RUNS.glob("*.log"):
                archive.add(log, log.name)
            for name in (name for names in self.groups.values() for name in names):
                for each in (ANSWERS, LOG, "log.csv", "curve.png"):
                    if (RUNS / name / each).exists():
                        archive.add(RUNS / name / each, f"{name}/{each}")
        temporary.replace(self.folder / "answers_and_logs.tar")


def _small(state: dict[str, object]) -> dict[str, object]:
    """What is needed to measure, export or go on from a run, filters in 16 bits."""
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
    """Train the teachers, then the students. Raises TrainingError where no teacher answered."""
    start = time.monotonic()
    end = None if seconds is None else start + seconds
    teachers_end = None if seconds is None else start + TEACHERS_SHARE * seconds
    groups = {"students": [each.name for each in students]}
    for each in teachers:
        groups.setdefault(f"teachers_{each.net}", []).append(each.name)
    collect = Collector(out, groups)
    waiting = [each for each in teachers if not (RUNS / each.name / ANSWERS).exists()]
    if waiting:
        Stage(waiting, device, teaches=True, end=teachers_end).wait(collect)
    for each in waiting:
        # A process may have been ended between its last checkpoint and its answers.
        if not (RUNS / each.name / ANSWERS).exists():
            with contextlib.suppress(TrainingError):  # without a checkpoint
                write_answers(each.name, FACES, choose_device(device))
    ready = {each.name for each in teachers if (RUNS / each.name / ANSWERS).exists()}
    if not ready and teachers:
        raise TrainingError(f"no teacher has answered: see the {LOG} of each run")
    learners = [
        replace(each, teacher_runs=tuple(name for name in each.teacher_runs if name in ready))
        for each in students
    ]
    Stage(learners, device, teaches=False, end=end).wait(collect)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", type=Path, nargs="+", help="of the students")
    parser.add_argument("--device", default=AUTO)
    parser.add_argument("--seconds", type=float, help="for everything; else as the configs say")
    parser.add_argument("--out", type=Path, help="folder for results as they come")
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
