"""The images of scenes in memory, by split."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.vision.card import DetectorCard
from app.vision.classifier import Classifier
from app.vision.detectors.yunet import YuNetDetector
from training import ferplus_labels
from training.data import annotated_images, first_of_each, read_split
from training.data.annotated_images import AnnotatedImage
from training.data.scenes import Collection, Sources
from training.data.split import DataError
from training.teacher_models import soft_labels

FERPLUS, PHOTOS, YUNET = "ferplus", "photos", "yunet/yunet_n_640.onnx"
YUNET_SIDE = 640
COLLECTIONS = ("natural", "crowds")
# Shares of the views. Half of the photographs have no face; they get a smaller share.
WITH_FACES, WITHOUT, CROWDS, PORTRAITS = 0.4, 0.2, 0.25, 0.15
QUOTA = 250  # predicted expressions of photographs per class
CROP_SIDE = 48  # of the images of FER+
BALANCE = 0.5  # exponent of the class weights


@dataclass(frozen=True)
class Teachers:
    """Model folders that predict expressions. `share` is the share of their mean prediction in the
    target of a face with an annotation."""

    folders: Sequence[Path]
    share: float
    threads: int = 1


def training_sources(folder: Path, teachers: Teachers | None, *, seed: int) -> Sources:
    """Return the images of the training splits, without FER+ images of the validation split.

    Without `teachers`, expressions are not predicted and YuNet does not add faces. Raises
    DataError, PhotosError, or ModelUnavailable for a teacher that cannot be used.
    """
    photos = folder / PHOTOS
    models = [Classifier.load(each) for each in teachers.folders] if teachers else []
    detector = _detector(folder / YUNET) if teachers else None
    natural = annotated_images.photographs(photos, "natural", "train", models)
    crowds = annotated_images.photographs(photos, "crowds", "train", models, detector)
    portraits = annotated_images.portraits(
        photos, "train", models, teacher_share=teachers.share if teachers else 0.0
    )
    limited = annotated_images.with_quotas([*natural, *crowds], QUOTA, np.random.default_rng(seed))
    natural, crowds = limited[: len(natural)], limited[len(natural) :]
    return _sources(natural, crowds, portraits, _crops(folder / FERPLUS, "train", teachers))


class ValidationImages:
    """The validation splits with their annotations. They are read on first use, which raises
    DataError or PhotosError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def photographs(self) -> list[AnnotatedImage]:
        """The photographs of COLLECTIONS."""
        return [
            each
            for name in COLLECTIONS
            for each in annotated_images.photographs(self._folder / PHOTOS, name, "val", ())
        ]

    @cached_property
    def portraits(self) -> list[AnnotatedImage]:
        """The portraits with an annotated expression."""
        return annotated_images.portraits(self._folder / PHOTOS, "val", (), teacher_share=0.0)

    @cached_property
    def sources(self) -> Sources:
        """The images of scenes."""
        crops = _crops(self._folder / FERPLUS, "valid", None)
        return _sources(self.photographs, [], self.portraits, crops)


def validation_sources(folder: Path) -> Sources:
    """Return the validation splits with their annotations. Raises DataError or PhotosError."""
    return ValidationImages(folder).sources


def _sources(
    natural: Sequence[AnnotatedImage],
    crowds: Sequence[AnnotatedImage],
    portraits: Sequence[AnnotatedImage],
    crops: Collection,
) -> Sources:
    empty = Collection.of([each for each in natural if not len(each.boxes)])
    with_faces = Collection.of([each for each in natural if len(each.boxes)])
    people = Collection.of(portraits, _balanced(np.stack([each.targets[0] for each in portraits])))
    views = [(WITH_FACES, with_faces), (WITHOUT, empty), (PORTRAITS, people)]
    if crowds:
        views.append((CROWDS, Collection.of(crowds)))
    return Sources(tuple(views), empty=empty, crops=crops, portraits=people)


def _crops(folder: Path, split: str, teachers: Teachers | None) -> Collection:
    faces = read_split(folder, split, size=CROP_SIDE)
    keep = ferplus_labels.usable_for_training(faces.votes) & first_of_each(faces.digests)
    if split == "train":
        keep &= ~np.isin(faces.digests, read_split(folder, "valid", size=CROP_SIDE).digests)
    targets = ferplus_labels.distribution(faces.votes[keep])
    if teachers:
        predictions = soft_labels(
            teachers.folders,
            folder,
            keep,
            classes=len(ferplus_labels.LABELS),
            threads=teachers.threads,
        )
        targets = teachers.share * predictions + (1 - teachers.share) * targets
    return Collection.of(annotated_images.crops(faces.crops[keep], targets), _balanced(targets))


def _balanced(targets: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return sampling weights (n,): p^-BALANCE, where p is the share of the class."""
    shares = targets.mean(axis=0).astype(float).clip(1e-3)
    return np.asarray(targets @ shares**-BALANCE, dtype=float)


def _detector(weights: Path) -> YuNetDetector:
    """Load YuNet from the folder of the data. Raises DataError."""
    try:
        data = weights.read_bytes()
    except OSError as error:
        raise DataError(f"no {weights}: YuNet detects the faces without annotation") from error
    card = DetectorCard("yunet", "teacher", weights.name, "", {}, YUNET_SIDE)
    return YuNetDetector(card, data)
