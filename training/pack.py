"""Collect the training faces of classifiers in a folder.

    python -m training.pack --data ../shared/data          # writes runs/faces/

The training sets are `ferplus` (the training split of FER+), `wild` (faces of web photographs with
two annotations) and `unlabelled` (the other faces on these photographs, and the faces of the
training splits of `natural` and `crowds`). The sets `ferplus_validation` and `wild_validation` are
used for validation only. Photographs of validation splits and portraits are not used for training.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from app.errors import ModelUnavailable
from app.vision.detectors import default_min_face_px
from app.vision.detectors.single_shot import SingleShotDetector
from app.vision.detectors.yunet import YuNetDetector
from app.vision.image import ImageFile, Raster, crop_face
from app.vision.types import Box
from testbed.boxes import iou
from training import ferplus_labels
from training.data import first_of_each, read_split
from training.data.face_sets import FACES, MARGIN, FaceSet, write_set
from training.data.photos import PhotosError, read_photographs
from training.data.split import DataError
from training.data.wild import WildFace, by_image, read_wild, target

FERPLUS, PHOTOS = "ferplus", "photos"
FERPLUS_SIDE, SIDE = 48, 128
QUALITY, FERPLUS_QUALITY, VALIDATION_QUALITY = 80, 95, 90
CROP_SCALE = 1.1  # side of a crop of FER+, divided by `box_scale` × the longer side of the box
# The annotated boxes of the web photographs are larger than those of the detector.
ANNOTATED_BOX_SCALE = 0.8
MATCH_IOU = 0.4  # minimum overlap of a detection with its face
OTHER_FACE_IOU = 0.1  # a detection with less overlap is another face
MIN_UNLABELLED_SIDE = 32.0  # pixels of the longer side of a face without a label
FOLDS = 4
NEAR_COPY_BITS = 6  # maximum number of different bits, of 64
MAX_PIXELS = 50_000_000


def ferplus(data: Path) -> tuple[FaceSet, FaceSet]:
    """Return the training faces and the validation faces of FER+.

    Training faces have the cleaned votes as targets; duplicates and images of the validation split
    are left out. Validation faces have a majority label and are not in the training split.
    """
    train = read_split(data / FERPLUS, "train", size=FERPLUS_SIDE)
    validation = read_split(data / FERPLUS, "valid", size=FERPLUS_SIDE)
    keep = (
        ferplus_labels.usable_for_training(train.votes)
        & first_of_each(train.digests)
        & ~np.isin(train.digests, validation.digests)
    )
    labels = ferplus_labels.majority(validation.votes)
    held_out = (labels >= 0) & ~np.isin(validation.digests, train.digests)
    one_hot = np.eye(len(ferplus_labels.LABELS), dtype=np.float32)
    return (
        face_set(
            list(train.crops[keep]), list(ferplus_labels.distribution(train.votes[keep])), margin=1
        ),
        face_set(list(validation.crops[held_out]), list(one_hot[labels[held_out]]), margin=1),
    )


def face_set(
    images: Sequence[NDArray[np.uint8]],
    targets: Sequence[NDArray[np.float32]],
    *,
    margin: float,
    sure: Sequence[bool] | None = None,
) -> FaceSet:
    count = len(images)
    return FaceSet(
        images=np.stack(images),
        targets=np.stack(targets),
        margin=margin,
        sure=np.array(sure if sure is not None else [True] * count),
        folds=np.full(count, -1, dtype=np.int8),
    )


class FaceDetector:
    """The detector whose boxes the squares are based on, with the settings of the service."""

    def __init__(self, models: Path) -> None:
        self._detector = SingleShotDetector.load(models)

    def boxes(self, raster: Raster) -> list[Box]:
        min_face_px = default_min_face_px(self._detector.min_face_share, *raster.size_wh)
        return [each.box for each in self._detector.detect(raster, min_face_px)]


def square(raster: Raster, box: Box, box_scale: float) -> NDArray[np.uint8]:
    """Cut out the crop of a classifier with a margin: MARGIN times as wide as the crop."""
    return crop_face(raster.gray, box, size=SIDE, scale=CROP_SCALE * box_scale * MARGIN)


def wild(data: Path, detector: FaceDetector) -> tuple[FaceSet, FaceSet, list[NDArray[np.uint8]]]:
    """Return the labelled training faces, the validation faces that the detector finds, and the
    faces without a label on the training photographs."""
    train = LabelledFaces()
    unlabelled: list[NDArray[np.uint8]] = []
    for raster, found, faces in _photographs_with_faces(data, "train", detector):
        for face in faces:
            _, crop = _matched(raster, found, face)
            if target(face.readings).any():
                train.append(crop, face)
            elif not face.readings:  # a face with two unclear annotations is not used
                unlabelled.append(crop)
        unlabelled += [
            square(raster, box, SingleShotDetector.box_scale)
            for box in found
            if box.longer_side >= MIN_UNLABELLED_SIDE
            and all(iou(box, face.box) < OTHER_FACE_IOU for face in faces)
        ]
    validation = LabelledFaces()
    for raster, found, faces in _photographs_with_faces(data, "val", detector):
        for face in faces:
            detected, crop = _matched(raster, found, face)
            if detected and face.agreed:
                validation.append(crop, face)
    return train.face_set(), validation.face_set(), unlabelled


class LabelledFaces:
    """Collects the squares and the annotations of faces."""

    def __init__(self) -> None:
        self._images: list[NDArray[np.uint8]] = []
        self._faces: list[WildFace] = []

    def append(self, image: NDArray[np.uint8], face: WildFace) -> None:
        self._images.append(image)
        self._faces.append(face)

    def face_set(self) -> FaceSet:
        return face_set(
            self._images,
            [target(face.readings) for face in self._faces],
            margin=MARGIN,
            sure=[face.sure for face in self._faces],
        )


def _photographs_with_faces(
    data: Path, split: str, detector: FaceDetector
) -> Iterator[tuple[Raster, list[Box], list[WildFace]]]:
    """Return each photograph of a split with the detected boxes and the annotated faces."""
    groups = by_image(read_wild(data, split))
    for path, faces in tqdm(groups.items(), desc=f"web photographs, {split}", leave=False):
        raster = _read(path)
        yield raster, detector.boxes(raster), faces


def _matched(
    raster: Raster, found: Sequence[Box], face: WildFace
) -> tuple[bool, NDArray[np.uint8]]:
    """Return whether the face was detected, and its square: around the detected box, or else around
    the annotated box."""
    best = max(found, key=lambda box: iou(box, face.box), default=None)
    if best is not None and iou(best, face.box) >= MATCH_IOU:
        return True, square(raster, best, SingleShotDetector.box_scale)
    return False, square(raster, face.box, ANNOTATED_BOX_SCALE)


def photographs(data: Path) -> list[NDArray[np.uint8]]:
    """Return the faces without masks of the training splits of `natural` and `crowds`."""
    return [
        square(raster, face.box, YuNetDetector.box_scale)
        for collection in ("natural", "crowds")
        for photograph in read_photographs(data / PHOTOS, collection, split="train")
        if photograph.faces
        for raster in [_read(photograph.path)]
        for face in photograph.faces
        if face.sure
        and face.condition in ("", "bare")
        and face.box.longer_side >= MIN_UNLABELLED_SIDE
    ]


def _read(path: Path) -> Raster:
    return ImageFile(path.read_bytes(), max_pixels=MAX_PIXELS).read(color=True)


def fingerprints(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the difference hash (n, 64) of each image (dHash): whether each of 8 × 9 cells is
    darker than its right neighbour. Nearly equal images have nearly equal hashes."""
    small = np.stack([cv2.resize(each, (9, 8), interpolation=cv2.INTER_AREA) for each in images])
    return np.asarray(small[:, :, 1:] > small[:, :, :-1]).reshape(len(images), -1)


def near_copies(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which of `images` (n,) are nearly equal to one of `others`: their hashes differ in at
    most NEAR_COPY_BITS bits."""
    other_hashes = fingerprints(others)
    return np.array(
        [
            int((other_hashes != each).sum(axis=1).min()) <= NEAR_COPY_BITS
            for each in fingerprints(images)
        ]
    )


def folds(images: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Assign a fold from 0 to FOLDS − 1 to each image (n,). Nearly equal images are in the same
    fold."""
    hashes = fingerprints(images)
    groups = np.arange(len(images))
    for index, each in enumerate(hashes):
        copies = np.flatnonzero((hashes[:index] != each).sum(axis=1) <= NEAR_COPY_BITS)
        if len(copies):
            groups[index] = groups[copies[0]]
    return (groups % FOLDS).astype(np.int8)


def pack(data: Path, folder: Path, models: Path) -> None:
    """Write all sets. Raises DataError, PhotosError or ModelUnavailable."""
    train, validation = ferplus(data)
    write_set(folder, "ferplus", train, quality=FERPLUS_QUALITY)
    write_set(folder, "ferplus_validation", validation, quality=None)
    labelled, wild_validation, unlabelled_images = wild(data, FaceDetector(models))
    unlabelled_images += photographs(data)
    no_targets = [target(())] * len(unlabelled_images)
    unlabelled = face_set(unlabelled_images, no_targets, margin=MARGIN)
    copies = near_copies(labelled.images, wild_validation.images)
    labelled = labelled.where(~copies)
    unlabelled = unlabelled.where(~near_copies(unlabelled.images, wild_validation.images))
    write_set(folder, "wild", replace(labelled, folds=folds(labelled.images)), quality=QUALITY)
    write_set(folder, "unlabelled", unlabelled, quality=QUALITY)
    write_set(folder, "wild_validation", wild_validation, quality=VALIDATION_QUALITY)
    print(
        f"{folder}: {len(train):,} faces of FER+, {len(labelled):,} wild with labels "
        f"({int(copies.sum())} near copies of validation faces left out), {len(unlabelled):,} "
        f"without labels; validation {len(validation):,} and {len(wild_validation):,}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models", type=Path, default=Path("models"))
    parser.add_argument("--out", type=Path, default=FACES)
    arguments = parser.parse_args()
    try:
        pack(arguments.data, arguments.out, arguments.models)
    except (DataError, PhotosError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
