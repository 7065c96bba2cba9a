"""The configuration of a training run: a TOML file in training/configs."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EXPORT_TABLES = ("export", "card", "folders")


class TrainingError(Exception):
    """A configuration, data folder or checkpoint cannot be used. The message has the reason."""


@dataclass(frozen=True)
class Config:
    """The settings of a run.

    Task and network:

    - `task` is one of training.tasks.TASKS. The network has the first `classes` labels of the task.
    - `net` is one of training.nets.NETS. `net_options` are its keyword arguments.
    - `start` is the name of an earlier run in runs/ with the same network and at least as many
      classes. The run starts from its averaged weights.
    - `pretrained` is a file in runs/ with weights that the network can start from.

    Schedule and optimiser:

    - The schedule ends after `epochs` or `minutes`, whichever is first. The learning rate increases
      linearly for `warmup_epochs` and then decreases to 0 with half a cosine.
    - `validate_each` is the number of epochs between validations.
    - `sizes` are pairs (share of the schedule, side): until this share, images have this smaller
      side, which is faster. The last increase must not be late in the schedule, because then the
      learning rate is too low for the network to adapt to it.

    Sampling and augmentation:

    - `balance` b samples images with the weight p^-b, where p is the share of their class in all
      targets. With 0, an epoch contains each image once.
    - `augmentation` is one of training.augment.STRENGTHS.
    - `fade` is the last share of the schedule, in which blurring, compression and erasing decrease
      to zero, so that the last steps use images as the service sees them (He et al. 2019,
      arXiv 1909.09148).

    Distillation:

    - `teachers` are model folders (training.teacher_models), `teacher_runs` are names of runs
      (training.soft_labels). `teacher_share` is the share of their mean prediction in the targets.

    Task `mixed_faces`: an epoch has `draws` samples, and `shares` is the share of each set of faces
    in them. `fold` is the fold of the labelled wild faces that a teacher is not trained on.

    Tasks with scenes: `scenes` is the number of scenes per epoch. `pack` is the file in runs/ that
    scenes are composed from. A batch then also has `sheets` grids of faces, which have only an
    expression loss.
    """

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
        """Return the side of images at this share of the schedule."""
        return next((side for until, side in self.sizes if progress < until), self.input_size)


def read_config(path: Path) -> Config:
    """Read a configuration. Raises TrainingError if the file is missing, is not TOML, or has
    unknown or missing settings.

    The tables `export`, `card` and `folders` are settings of training.export.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
        return Config(**{key: value for key, value in document.items() if key not in EXPORT_TABLES})
    except (OSError, tomllib.TOMLDecodeError, TypeError) as error:
        raise TrainingError(f"config {path}: {error}") from error
