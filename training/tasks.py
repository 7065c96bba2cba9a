"""The tasks that a config can name: how the data of each is read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from app.vision.card import CLASSIFIER, DETECTOR, SINGLE_SHOT
from training import votes
from training.classification import Crops, Labelled
from training.config import Config, TrainingError
from training.data import face_windows, first_of_each, read_split
from training.detection.data import load_scenes
from training.detection.packed import load_packed_scenes
from training.learning import Data
from training.mixed_faces import load_mixed_faces
from training.teach import teach

FERPLUS, PHOTOS = "ferplus", "photos"  # in the folder of all data


def load_expressions(folder: Path, config: Config, taught: bool) -> Crops:
    """Training pictures of FER+: usable, each once, and none that is also in validation, which is
    under the majority protocol. Raises DataError; for a teacher that cannot be used InvalidCard or
    ModelUnavailable."""
    folder = folder / FERPLUS
    train = read_split(folder, "train", size=config.input_size)
    validation = read_split(folder, "valid", size=config.input_size)
    keep = (
        votes.usable_for_training(train.votes, classes=config.classes)
        & first_of_each(train.digests)
        & ~np.isin(train.digests, validation.digests)
    )
    targets = votes.distribution(train.votes[keep], classes=config.classes)
    if config.teachers and taught:
        answers = teach(
            [Path(teacher) for teacher in config.teachers],
            folder,
            keep,
            classes=config.classes,
            threads=torch.get_num_threads(),
        )
        targets = config.teacher_share * answers + (1 - config.teacher_share) * targets
    labels = votes.majority(validation.votes)
    chosen = (labels >= 0) & (labels < config.classes)
    return Crops(
        config=config,
        crops=torch.from_numpy(train.crops[keep])[:, None],
        targets=torch.from_numpy(targets),
        validation=_labelled(validation.crops[chosen], labels[chosen]),
        targets_name=f"cleaned votes over {config.classes} emotions",
        source="FER+ training split (FER2013 pictures, ten crowd votes each), without pictures "
        "that are twice in it or also in the validation split",
    )


def load_windows(folder: Path, config: Config, taught: bool) -> Crops:
    """Windows of the cascade in photographs, label 1 where they hold a face, and as many faces of
    FER+ as there are windows on faces: few photographs show all that a face can express. Windows on
    nothing are there twice, so that faces are as likely as the cascade proposes them. Validation is
    windows alone. Raises PhotosError or DataError."""
    train = face_windows.read(folder / PHOTOS, "train", size=config.input_size)
    validation = face_windows.read(folder / PHOTOS, "val", size=config.input_size)
    more = read_split(folder / FERPLUS, "train", size=config.input_size)
    faces = np.flatnonzero(votes.usable_for_training(more.votes, classes=len(votes.LABELS)))
    count = min(int(train.is_face.sum()), len(faces))
    chosen = np.random.default_rng(config.seed).choice(faces, count, replace=False)
    nothing = train.crops[~train.is_face]
    crops = np.concatenate([train.crops, nothing, more.crops[chosen]])
    labels = np.zeros(len(crops), dtype=np.int64)
    labels[: len(train.is_face)] = train.is_face
    labels[len(crops) - count :] = 1
    return Crops(
        config=config,
        crops=torch.from_numpy(crops)[:, None],
        targets=F.one_hot(torch.from_numpy(labels), 2).float(),
        validation=_labelled(validation.crops, validation.is_face.astype(np.int64)),
        targets_name="the window's own label",
        source=f"{len(train.crops):,} windows of the cascade in photographs "
        f"({', '.join(face_windows.COLLECTIONS)}, training split), {count:,} of them on faces, the "
        f"others twice, and as many faces of FER+'s training split",
    )


def _labelled(crops: NDArray[np.uint8], labels: NDArray[np.int64]) -> Labelled:
    """Labels that nobody doubts."""
    sure = torch.ones(len(labels), dtype=torch.bool)
    return Labelled(torch.from_numpy(crops)[:, None], torch.from_numpy(labels), sure)


@dataclass(frozen=True, slots=True)
class Task:
    """What can be learned: in which order the classes come, how its pictures are read from the
    folder of all data, and of what kind the cards of its models are."""

    labels: tuple[str, ...]
    load: Callable[[Path, Config, bool], Data]
    kind: str


TASKS = {
    "expressions": Task(votes.LABELS, load_expressions, CLASSIFIER),
    "mixed_faces": Task(votes.LABELS, load_mixed_faces, CLASSIFIER),
    "faces": Task(face_windows.LABELS, load_windows, DETECTOR),
    "scenes": Task(votes.LABELS, load_scenes, SINGLE_SHOT),
    "packed_scenes": Task(votes.LABELS, load_packed_scenes, SINGLE_SHOT),
}


def load_data(folder: Path, config: Config, *, taught: bool = True) -> Data:
    """The data of the config's task, from the folder of all data. Without `taught` the
    teachers, which take minutes, are not asked and the targets are those of people alone.

    Raises TrainingError for an unknown task, and what its loader raises.
    """
    if config.task not in TASKS:
        raise TrainingError(f"unknown task {config.task!r}; known: {', '.join(TASKS)}")
    return TASKS[config.task].load(folder, config, taught)
