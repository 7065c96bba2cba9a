"""Photographs and faces in memory, with boxes and expressions, from which scenes are composed.

Boxes are like those of YuNet: from forehead to chin. Expressions are the annotations of people.
Faces without an annotation get the mean prediction of the teachers, unless it is undecided.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from app.vision.classifier import Classifier
from app.vision.detectors.yunet import YuNetDetector
from app.vision.image import ImageFile, Raster
from app.vision.types import Box
from testbed.boxes import iou
from training.data.photos import (
    PORTRAITS,
    AnnotatedFace,
    Photograph,
    Portrait,
    portraits_with_equal_readings,
    read_photographs,
    read_portraits,
)
from training.ferplus_labels import LABELS

# The box of the face in an image of FER+, relative to its side: the median of YuNet's boxes in
# 1,408 images of the validation split.
FER_FACE = (0.12, 0.0, 0.89, 1.0)
# The side of the classifier's crop relative to the longer side of a box: for boxes of YuNet, and
# for the boxes that people drew around faces in crowds.
YUNET_SCALE, DRAWN_SCALE = 0.86, 0.95
UNDECIDED = 0.5  # predictions with a lower maximum are not used
MIN_EXPRESSION_SIDE = 24  # pixels; the expression of a smaller face is not used
SAME_FACE_IOU = 0.3
_MAX_PIXELS = 50_000_000


@dataclass(frozen=True)
class AnnotatedImage:
    """An image (height, width) or (height, width, 3) uint8 BGR with annotated faces.

    `boxes` (n, 4) are xyxy in pixels. A detector must find the faces that are `sure` (n,); the
    others are ignored. `targets` (n, classes) are distributions over expressions, all 0 if the
    expression is unknown.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    sure: NDArray[np.bool_]
    targets: NDArray[np.float32]


def photographs(
    photos: Path,
    collection: str,
    split: str,
    teachers: Sequence[Classifier],
    detector: YuNetDetector | None = None,
) -> list[AnnotatedImage]:
    """Return the images of a collection and split. Raises PhotosError.

    Faces that only `detector` finds are added as unsure, because the annotations of crowds are
    incomplete.
    """
    images = []
    for each in tqdm(read_photographs(photos, collection, split=split), desc=collection):
        raster = _read(each.path)
        faces = each.faces + _unannotated(raster, [face.box for face in each.faces], detector)
        images.append(_photograph(raster, replace(each, faces=faces), teachers))
    return images


def portraits(
    photos: Path, split: str, teachers: Sequence[Classifier], *, teacher_share: float
) -> list[AnnotatedImage]:
    """Return the grey portraits with an expression that a person annotated. The prediction of the
    teachers has the share `teacher_share` in the target. Raises PhotosError."""
    return _portraits(photos, read_portraits(photos, split=split), teachers, teacher_share)


def read_portraits_with_equal_readings(photos: Path) -> list[AnnotatedImage]:
    """Return the grey portraits with two equal readings as targets. Raises PhotosError."""
    return _portraits(photos, portraits_with_equal_readings(photos), (), 0.0)


def _portraits(
    photos: Path, portraits: Sequence[Portrait], teachers: Sequence[Classifier], share: float
) -> list[AnnotatedImage]:
    annotated = {each.path: each for each in portraits}
    images = []
    for each in tqdm(read_photographs(photos, PORTRAITS, split=None), desc=PORTRAITS):
        portrait = annotated.get(each.path)
        if portrait is None or portrait.expression not in LABELS:
            continue
        raster = _read(each.path)
        others = tuple(face for face in each.faces if face.box != portrait.box)
        main = AnnotatedFace(portrait.box)
        image = _photograph(raster, replace(each, faces=(main, *others)), ())
        one_hot = np.eye(len(LABELS), dtype=np.float32)[LABELS.index(portrait.expression)]
        prediction = _prediction(raster, portrait.box, YUNET_SCALE, teachers)
        image.targets[0] = share * prediction + (1 - share) * one_hot
        images.append(replace(image, image=raster.gray))
    return images


def crops(faces: NDArray[np.uint8], targets: NDArray[np.float32]) -> list[AnnotatedImage]:
    """Convert images of FER+ (n, size, size) and their targets (n, classes)."""
    box = np.array([FER_FACE], dtype=np.float32) * faces.shape[1]
    sure = np.ones(1, dtype=bool)
    return [AnnotatedImage(f, box, sure, t[None]) for f, t in zip(faces, targets, strict=True)]


def _read(path: Path) -> Raster:
    return ImageFile(path.read_bytes(), max_pixels=_MAX_PIXELS).read(color=True)


def _unannotated(
    raster: Raster, annotated: Sequence[Box], detector: YuNetDetector | None
) -> tuple[AnnotatedFace, ...]:
    found = [] if detector is None else detector.detect(raster, 0.0)
    return tuple(
        AnnotatedFace(each.box, sure=False)
        for each in found
        if all(iou(each.box, box) < SAME_FACE_IOU for box in annotated)
    )


def _photograph(
    raster: Raster, photograph: Photograph, teachers: Sequence[Classifier]
) -> AnnotatedImage:
    faces = photograph.faces
    targets = np.zeros((len(faces), len(LABELS)), dtype=np.float32)
    for target, face in zip(targets, faces, strict=True):
        # A mask hides half of the face.
        large = face.box.longer_side >= MIN_EXPRESSION_SIDE
        if face.sure and face.condition in ("", "bare") and large:
            scale = DRAWN_SCALE if face.condition else YUNET_SCALE
            prediction = _prediction(raster, face.box, scale, teachers)
            target[:] = prediction if prediction.max() >= UNDECIDED else 0
    boxes = np.array([face.box.xyxy for face in faces], dtype=np.float32).reshape(-1, 4)
    return AnnotatedImage(
        raster.bgr, boxes, np.array([face.sure for face in faces], dtype=bool), targets
    )


def _prediction(
    raster: Raster, box: Box, box_scale: float, teachers: Sequence[Classifier]
) -> NDArray[np.float32]:
    total = np.zeros(len(LABELS), dtype=np.float32)
    for teacher in teachers:
        scores = teacher.classify(raster.gray, [box], box_scale=box_scale)[0]
        total += [scores[label] / len(teachers) for label in LABELS]
    return total


def with_quotas(
    images: Sequence[AnnotatedImage], quota: int, generator: np.random.Generator
) -> list[AnnotatedImage]:
    """Return the images with at most `quota` known expressions of each class, because most
    predictions for photographs are neutral and happiness."""
    rows = [(i, face) for i, each in enumerate(images) for face in range(len(each.boxes))]
    known = [(i, face) for i, face in rows if images[i].targets[face].any()]
    classes = np.array([images[i].targets[face].argmax() for i, face in known], dtype=int)
    kept = set()
    for label in np.unique(classes):
        chosen = generator.permutation(np.flatnonzero(classes == label))[:quota]
        kept |= {known[index] for index in chosen}
    limited = []
    for i, each in enumerate(images):
        keep = np.array([(i, face) in kept for face in range(len(each.boxes))], dtype=bool)
        limited.append(replace(each, targets=each.targets * keep[:, None]))
    return limited
