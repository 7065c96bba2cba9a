"""Everything that scenes are made of, in memory, by split."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.vision.card import DetectorCard
from app.vision.classifier import Classifier
from app.vision.detectors.yunet import YuNetDetector
from training import votes
from training.data import first_of_each, marked_images, read_split
from training.data.marked_images import MarkedImage
from training.data.scenes import Collection, Sources
from training.data.split import DataError
from training.teach import teach

FERPLUS, PHOTOS, YUNET = "ferplus", "photos", "yunet/yunet_n_640.onnx"
YUNET_SIDE = 640
COLLECTIONS = ("natural", "crowds")
# Shares of the views; images without faces are half of what there is and teach less.
WITH_FACES, WITHOUT, CROWDS, PORTRAITS = 0.4, 0.2, 0.25, 0.15
QUOTA = 250  # faces of photographs whose expression a teacher named, by class
CROP_SIDE = 48  # FER+'s own
BALANCE = 0.5


@dataclass(frozen=True)
class Teaching:
    """Model folders that are asked where people said nothing, and the share of their mean answer
    where people did."""

    teachers: Sequence[Path]
    share: float
    threads: int = 1


def training_sources(folder: Path, teaching: Teaching | None, *, seed: int) -> Sources:
    """The training splits, FER+ without images that are also in validation. Without `teaching`
    nobody is asked for expressions, or for faces that people did not mark.

    Raises DataError or PhotosError; for a teacher that cannot be used ModelUnavailable."""
    photos = folder / PHOTOS
    teachers = [Classifier.load(each) for each in teaching.teachers] if teaching else []
    finder = _finder(folder / YUNET) if teaching else None
    natural = marked_images.photographs(photos, "natural", "train", teachers)
    crowds = marked_images.photographs(photos, "crowds", "train", teachers, finder)
    portraits = marked_images.portraits(
        photos, "train", teachers, teacher_share=teaching.share if teaching else 0.0
    )
    together = marked_images.with_quotas([*natural, *crowds], QUOTA, np.random.default_rng(seed))
    natural, crowds = together[: len(natural)], together[len(natural) :]
    return _sources(natural, crowds, portraits, _crops(folder / FERPLUS, "train", teaching))


class ValidationImages:
    """The validation splits, with what people said, each read when it is first needed. Reading
    raises DataError or PhotosError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def photographs(self) -> list[MarkedImage]:
        """Those of COLLECTIONS."""
        return [
            each
            for name in COLLECTIONS
            for each in marked_images.photographs(self._folder / PHOTOS, name, "val", ())
        ]

    @cached_property
    def portraits(self) -> list[MarkedImage]:
        """Those whose expression somebody named."""
        return marked_images.portraits(self._folder / PHOTOS, "val", (), teacher_share=0.0)

    @cached_property
    def sources(self) -> Sources:
        """What scenes are made of."""
        crops = _crops(self._folder / FERPLUS, "valid", None)
        return _sources(self.photographs, [], self.portraits, crops)


def validation_sources(folder: Path) -> Sources:
    """The validation splits, with what people said. Raises DataError or PhotosError."""
    return ValidationImages(folder).sources


def _sources(
    natural: Sequence[MarkedImage],
    crowds: Sequence[MarkedImage],
    portraits: Sequence[MarkedImage],
    crops: Collection,
) -> Sources:
    empty = Collection.of([each for each in natural if not len(each.boxes)])
    with_faces = Collection.of([each for each in natural if len(each.boxes)])
    people = Collection.of(portraits, _balanced(np.stack([each.targets[0] for each in portraits])))
    views = [(WITH_FACES, with_faces), (WITHOUT, empty), (PORTRAITS, people)]
    if crowds:
        views.append((CROWDS, Collection.of(crowds)))
    return Sources(tuple(views), empty=empty, crops=crops, portraits=people)


def _crops(folder: Path, split: str, teaching: Teaching | None) -> Collection:
    faces = read_split(folder, split, size=CROP_SIDE)
    keep = votes.usable_for_training(faces.votes) & first_of_each(faces.digests)
    if split == "train":
        keep &= ~np.isin(faces.digests, read_split(folder, "valid", size=CROP_SIDE).digests)
    targets = votes.distribution(faces.votes[keep])
    if teaching:
        answers = teach(
            teaching.teachers,
            folder,
            keep,
            classes=len(votes.LABELS),
            threads=teaching.threads,
        )
        targets = teaching.share * answers + (1 - teaching.share) * targets
    return Collection.of(marked_images.crops(faces.crops[keep], targets), _balanced(targets))


def _balanced(targets: NDArray[np.float32]) -> NDArray[np.float64]:
    """Weights (n,) that draw classes more evenly: p^-BALANCE, p being a class's share."""
    shares = targets.mean(axis=0).astype(float).clip(1e-3)
    return np.asarray(targets @ shares**-BALANCE, dtype=float)


def _finder(weights: Path) -> YuNetDetector:
    """YuNet, as a teacher: its weights lie with the data. Raises DataError."""
    try:
        data = weights.read_bytes()
    except OSError as error:
        raise DataError(f"no {weights}, which finds the faces that nobody marked") from error
    card = DetectorCard("yunet", "teacher", weights.name, "", {}, YUNET_SIDE)
    return YuNetDetector(card, data)
