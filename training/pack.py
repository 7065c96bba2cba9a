"""Collect the faces that classifiers learn from, and write them to one folder.

    python -m training.pack --data ../shared/data          # writes runs/faces/

`ferplus` holds FER+'s training split, `wild` the training faces of the web photographs with two
readings each, `unlabelled` faces whose label nobody gave: the others on those photographs, and
those of the training splits of `natural` and `crowds`. `ferplus_validation` and `wild_validation`
are measured only. Photographs of validation splits, and portraits, give no training faces.
"""

import argparse
from collections.abc import Sequence
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
from training import votes
from training.data import first_of_each, read_split
from training.data.face_sets import FACES, MARGIN, FaceSet, write_set
from training.data.photos import PhotosError, read_photographs
from training.data.split import DataError
from training.data.wild import WildFace, by_image, read_wild, target

FERPLUS, PHOTOS = "ferplus", "photos"
FERPLUS_SIDE, SIDE = 48, 128
QUALITY, FERPLUS_QUALITY, VALIDATION_QUALITY = 80, 95, 90
CROP_SCALE = 1.1  # of the square that every detector's `box_scale` refers to: FER+'s own view
# The marked boxes of the web photographs are looser than the detector's.
MARKED_BOX_SCALE = 0.8
MATCH_IOU = 0.4
APART_IOU = 0.1  # below this a detection is another face than the marked one
SMALLEST = 32.0  # pixels of the longer side of a face without a label
FOLDS = 4
NEAR_COPY_BITS = 6  # of 64
MAX_PIXELS = 50_000_000


def ferplus(data: Path) -> tuple[FaceSet, FaceSet]:
    """Training faces, each once and none that is also in validation, with the cleaned votes as
    targets; and the validation faces that have a majority and are not in the training split."""
    train = read_split(data / FERPLUS, "train", size=FERPLUS_SIDE)
    validation = read_split(data / FERPLUS, "valid", size=FERPLUS_SIDE)
    keep = (
        votes.usable_for_training(train.votes)
        & first_of_each(train.digests)
        & ~np.isin(train.digests, validation.digests)
    )
    labels = votes.majority(validation.votes)
    unseen = (labels >= 0) & ~np.isin(validation.digests, train.digests)
    one_hot = np.eye(len(votes.LABELS), dtype=np.float32)
    return (
        face_set(list(train.crops[keep]), list(votes.distribution(train.votes[keep])), margin=1),
        face_set(list(validation.crops[unseen]), list(one_hot[labels[unseen]]), margin=1),
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


class Finder:
    """The detector whose boxes the squares are made of, as it is served."""

    def __init__(self, models: Path) -> None:
        self._detector = SingleShotDetector.load(models)

    def boxes(self, raster: Raster) -> list[Box]:
        smallest = default_min_face_px(self._detector.min_face_share, *raster.size_wh)
        return [each.box for each in self._detector.detect(raster, smallest)]


def square(raster: Raster, box: Box, box_scale: float) -> NDArray[np.uint8]:
    """What a classifier is given of a face, and as much around it as MARGIN says."""
    return crop_face(raster.gray, box, size=SIDE, scale=CROP_SCALE * box_scale * MARGIN)


def wild(data: Path, finder: Finder) -> tuple[FaceSet, FaceSet, list[NDArray[np.uint8]]]:
    """The labelled training faces, the validation faces that the detector finds, and the faces
    without a label on the training photographs."""
    scale = SingleShotDetector.box_scale
    images: dict[str, list[NDArray[np.uint8]]] = {"train": [], "val": []}
    faces: dict[str, list[WildFace]] = {"train": [], "val": []}
    others: list[NDArray[np.uint8]] = []
    for split, made in images.items():
        groups = by_image(read_wild(data, split))
        for path, marked in tqdm(groups.items(), desc=f"web photographs, {split}", leave=False):
            raster = _read(path)
            found = finder.boxes(raster)
            for face in marked:
                best = max(found, key=lambda box: iou(box, face.box), default=None)
                hit = best is not None and iou(best, face.box) >= MATCH_IOU
                labelled = target(face.readings).any()
                if split == "val" and not (hit and face.agreed):
                    continue
                crop = (
                    square(raster, best, scale)
                    if best is not None and hit
                    else square(raster, face.box, MARKED_BOX_SCALE)
                )
                if split == "train" and not labelled:
                    if not face.readings:  # else both readers called it unclear
                        others.append(crop)
                    continue
                made.append(crop)
                faces[split].append(face)
            if split == "train":
                others += [
                    square(raster, box, scale)
                    for box in found
                    if box.longer_side >= SMALLEST
                    and all(iou(box, face.box) < APART_IOU for face in marked)
                ]
    sets = {
        split: face_set(
            images[split],
            [target(face.readings) for face in faces[split]],
            margin=MARGIN,
            sure=[face.sure for face in faces[split]],
        )
        for split in images
    }
    return sets["train"], sets["val"], others


def photographs(data: Path) -> list[NDArray[np.uint8]]:
    """Bare faces of the training splits of `natural` and `crowds`, in their marked boxes."""
    return [
        square(raster, face.box, YuNetDetector.box_scale)
        for collection in ("natural", "crowds")
        for photograph in read_photographs(data / PHOTOS, collection, split="train")
        if photograph.faces
        for raster in [_read(photograph.path)]
        for face in photograph.faces
        if face.sure and face.condition in ("", "bare") and face.box.longer_side >= SMALLEST
    ]


def _read(path: Path) -> Raster:
    return ImageFile(path.read_bytes(), max_pixels=MAX_PIXELS).read(color=True)


def fingerprints(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """64 bits (n, 64) of each image, which nearly equal images share: where each of 8 × 9 cells is
    darker than its right neighbour (dHash)."""
    small = np.stack([cv2.resize(each, (9, 8), interpolation=cv2.INTER_AREA) for each in images])
    return np.asarray(small[:, :, 1:] > small[:, :, :-1]).reshape(len(images), -1)


def near_copies(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of `images` (n,) differ from one of `others` in at most NEAR_COPY_BITS bits."""
    theirs = fingerprints(others)
    return np.array(
        [int((theirs != mine).sum(axis=1).min()) <= NEAR_COPY_BITS for mine in fingerprints(images)]
    )


def folds(images: NDArray[np.uint8]) -> NDArray[np.int8]:
    """A number from 0 to FOLDS − 1 for each image (n,); nearly equal images share theirs."""
    prints = fingerprints(images)
    made = np.arange(len(images))
    for index, mine in enumerate(prints):
        alike = np.flatnonzero((prints[:index] != mine).sum(axis=1) <= NEAR_COPY_BITS)
        if len(alike):
            made[index] = made[alike[0]]
    return (made % FOLDS).astype(np.int8)


def pack(data: Path, folder: Path, models: Path) -> None:
    """Write all sets. Raises DataError, PhotosError or ModelUnavailable."""
    train, validation = ferplus(data)
    write_set(folder, "ferplus", train, quality=FERPLUS_QUALITY)
    write_set(folder, "ferplus_validation", validation, quality=None)
    labelled, wild_validation, others = wild(data, Finder(models))
    others += photographs(data)
    unlabelled = face_set(others, [target(())] * len(others), margin=MARGIN)
    copies = near_copies(labelled.images, wild_validation.images)
    labelled = labelled.where(~copies)
    unlabelled = unlabelled.where(~near_copies(unlabelled.images, wild_validation.images))
    write_set(folder, "wild", replace(labelled, folds=folds(labelled.images)), quality=QUALITY)
    write_set(folder, "unlabelled", unlabelled, quality=QUALITY)
    write_set(folder, "wild_validation", wild_validation, quality=VALIDATION_QUALITY)
    print(
        f"{folder}: {len(train):,} faces of FER+, {len(labelled):,} wild with labels "
        f"({int(copies.sum())} left out as copies of validation faces), {len(unlabelled):,} "
        f"without; validation {len(validation):,} and {len(wild_validation):,}"
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
