"""The tasks of configurations, with the functions that load their data."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from app.vision.card import CLASSIFIER, DETECTOR, SINGLE_SHOT
from training import ferplus_labels
from training.classification import Crops, LabelledCrops
from training.config import Config, TrainingError
from training.data import face_windows, first_of_each, read_split
from training.detection.data import load_scenes
from training.detection.packed import load_packed_scenes
from training.mixed_faces import load_mixed_faces
from training.protocols import TrainingData
from training.teacher_models import soft_labels

FERPLUS, PHOTOS = "ferplus", "photos"  # in the folder with all data sets


def load_expressions(folder: Path, config: Config, with_teachers: bool) -> Crops:
    """Load the usable training images of FER+, without duplicates and without images of the
    validation split. The validation labels follow the majority protocol.

    Raises DataError, or InvalidCard or ModelUnavailable for a teacher that cannot be used.
    """
    folder = folder / FERPLUS
    train = read_split(folder, "train", size=config.input_size)
    validation = read_split(folder, "valid", size=config.input_size)
    keep = (
        ferplus_labels.usable_for_training(train.votes, classes=config.classes)
        & first_of_each(train.digests)
        & ~np.isin(train.digests, validation.digests)
    )
    targets = ferplus_labels.distribution(train.votes[keep], classes=config.classes)
    if config.teachers and with_teachers:
        predictions = soft_labels(
            [Path(teacher) for teacher in config.teachers],
            folder,
            keep,
            classes=config.classes,
            threads=torch.get_num_threads(),
        )
        targets = config.teacher_share * predictions + (1 - config.teacher_share) * targets
    labels = ferplus_labels.majority(validation.votes)
    chosen = (labels >= 0) & (labels < config.classes)
    return Crops(
        config=config,
        crops=torch.from_numpy(train.crops[keep])[:, None],
        targets=torch.from_numpy(targets),
        validation=_labelled(validation.crops[chosen], labels[chosen]),
        targets_name=f"distribution of the FER+ votes over {config.classes} emotions "
        "(without single votes)",
        source="faces of the FER+ training split (FER2013 images with ten crowd votes each, "
        "without duplicates and without images of the validation split)",
    )


def load_windows(folder: Path, config: Config, with_teachers: bool) -> Crops:
    """Load windows of the cascade in photographs, with label 1 for windows that contain a face.

    An equal number of FER+ faces is added to the windows with a face, because the photographs have
    few different expressions. Windows without a face are used twice, which keeps the ratio of both
    labels. The validation data has only windows. Raises PhotosError or DataError.
    """
    train = face_windows.read(folder / PHOTOS, "train", size=config.input_size)
    validation = face_windows.read(folder / PHOTOS, "val", size=config.input_size)
    ferplus = read_split(folder / FERPLUS, "train", size=config.input_size)
    faces = np.flatnonzero(
        ferplus_labels.usable_for_training(ferplus.votes, classes=len(ferplus_labels.LABELS))
    )
    count = min(int(train.is_face.sum()), len(faces))
    chosen = np.random.default_rng(config.seed).choice(faces, count, replace=False)
    negatives = train.crops[~train.is_face]
    crops = np.concatenate([train.crops, negatives, ferplus.crops[chosen]])
    labels = np.zeros(len(crops), dtype=np.int64)
    labels[: len(train.is_face)] = train.is_face
    labels[len(crops) - count :] = 1
    return Crops(
        config=config,
        crops=torch.from_numpy(crops)[:, None],
        targets=F.one_hot(torch.from_numpy(labels), 2).float(),
        validation=_labelled(validation.crops, validation.is_face.astype(np.int64)),
        targets_name="whether the window contains a face",
        source=f"{len(train.crops):,} candidate windows of the cascade on photographs "
        f"({', '.join(face_windows.COLLECTIONS)}, training split), {count:,} of them with a face "
        f"and the others used twice, and {count:,} faces of the FER+ training split",
    )


def _labelled(crops: NDArray[np.uint8], labels: NDArray[np.int64]) -> LabelledCrops:
    """Return crops whose labels are all certain."""
    sure = torch.ones(len(labels), dtype=torch.bool)
    return LabelledCrops(torch.from_numpy(crops)[:, None], torch.from_numpy(labels), sure)


@dataclass(frozen=True, slots=True)
class Task:
    """A task: its labels in the order of the classes, the function that loads its data from the
    folder with all data sets, and the kind of its model cards."""

    labels: tuple[str, ...]
    load: Callable[[Path, Config, bool], TrainingData]
    kind: str


TASKS = {
    "expressions": Task(ferplus_labels.LABELS, load_expressions, CLASSIFIER),
    "mixed_faces": Task(ferplus_labels.LABELS, load_mixed_faces, CLASSIFIER),
    "faces": Task(face_windows.LABELS, load_windows, DETECTOR),
    "scenes": Task(ferplus_labels.LABELS, load_scenes, SINGLE_SHOT),
    "packed_scenes": Task(ferplus_labels.LABELS, load_packed_scenes, SINGLE_SHOT),
}


def load_data(folder: Path, config: Config, *, with_teachers: bool = True) -> TrainingData:
    """Load the data of the task of `config` from the folder with all data sets. Without
    `with_teachers`, the targets are the annotations only: predictions of teachers take minutes.

    Raises TrainingError for an unknown task, and the errors of the function that loads the data.
    """
    if config.task not in TASKS:
        raise TrainingError(f"unknown task {config.task!r}; known: {', '.join(TASKS)}")
    return TASKS[config.task].load(folder, config, with_teachers)
