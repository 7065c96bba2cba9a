"""What a training run is told: a TOML file in training/configs."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXPORT_TABLES = ("export", "card", "folders")


class TrainingError(Exception):
    """A config, data folder or checkpoint that cannot be used; the message says why."""


@dataclass(frozen=True)
class Config:
    """`task` is one of training.tasks.TASKS; `classes` are the first so many of its labels.
    `balance` b draws a picture with weight p^-b, p being the share of its class in all votes: 0
    takes every picture once an epoch. `sizes` are (share of the schedule, side) steps: until that
    share is over pictures have that side, which is cheaper; a step up late in the
    schedule, where the learning rate is too small to adapt to it, does harm. `teachers` are model
    folders whose mean answer makes `teacher_share` of the targets. Over the last `fade` of the
    schedule blurring and erasing fade out, so that the net ends on pictures as they are served (He
    et al. 2019, arXiv 1909.09148). `start` names a run in runs/ to begin from, of the same net with
    as many classes or more. `scenes` are made for an epoch, by tasks that make their images. `pack`
    names a file in runs/ that scenes are composed of; a batch of those also has `sheets`, grids of
    faces that teach expressions only.

    For the task that learns from several sets of faces: `shares` says which share of an epoch's
    `draws` comes from each set, `teacher_runs` names the runs whose answers are targets
    (training.answers), and `fold` is the number of a run that teaches, whose fold of the labelled
    wild faces it does not learn from. `pretrained` names a file of weights in runs/ that `net` can
    start from, `augmentation` one of training.augment.STRENGTHS. Figures are measured every
    `validate_each` epochs."""

    name: str
    net: str
    classes: int
    input_size: int
    minutes: float
    epochs: int
    batch_size: int
    learning_rate: float
    betas: tuple[float, float]
    weight_decay: float
    warmup_epochs: float
    ema_decay: float
    seed: int
    fade: float = 0.0
    balance: float = 0.0
    sizes: tuple[tuple[float, int], ...] = ()
    teachers: tuple[str, ...] = ()
    teacher_share: float = 0.0
    start: str = ""
    scenes: int = 0
    sheets: int = 0
    pack: str = ""
    shares: dict[str, float] = field(default_factory=dict)
    draws: int = 0
    teacher_runs: tuple[str, ...] = ()
    fold: int = -1
    pretrained: str = ""
    augmentation: str = "mild"
    validate_each: int = 1
    task: str = "expressions"
    net_options: dict[str, Any] = field(default_factory=dict)

    def side_at(self, progress: float) -> int:
        """The side of pictures when that share of the schedule is over."""
        return next((side for until, side in self.sizes if progress < until), self.input_size)


def read_config(path: Path) -> Config:
    """Raises TrainingError for a file that is missing, no TOML, or names other settings.

    The tables `export`, `card` and `folders` are for training.export and do not affect training.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
        return Config(**{key: value for key, value in document.items() if key not in EXPORT_TABLES})
    except (OSError, tomllib.TOMLDecodeError, TypeError) as error:
        raise TrainingError(f"config {path}: {error}") from error
