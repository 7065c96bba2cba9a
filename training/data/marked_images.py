"""What scenes are made of: photographs and faces in memory, with boxes and expressions.

Boxes are everywhere those of YuNet, from the forehead to the chin. Expressions are what people
said; where nobody did, the mean of the teachers, unless they are undecided.
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
    MarkedFace,
    Photograph,
    read_photographs,
    read_portraits,
)
from training.votes import LABELS

# Where a face lies in a image of FER+, as shares of its side: the median of what YuNet found in
# 1,408 images of the validation split.
FER_FACE = (0.12, 0.0, 0.89, 1.0)
# Of the longer side of YuNet's boxes, and of those that people drew around faces in crowds.
GIVEN_SCALE, DRAWN_SCALE = 0.86, 0.95
UNDECIDED = 0.5  # a teacher that is less sure says nothing
FEWEST_PIXELS = 24  # of a face whose expression can be told
SAME_FACE = 0.3  # IoU
_MAX_PIXELS = 50_000_000


@dataclass(frozen=True)
class MarkedImage:
    """`image` (height, width) or (height, width, 3) uint8 BGR; `boxes` (n, 4) xyxy in its pixels,
    of which `sure` (n,) must be found; `targets` (n, classes) distributions over expressions, all 0
    where nobody can tell."""

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    sure: NDArray[np.bool_]
    targets: NDArray[np.float32]


def photographs(
    photos: Path,
    collection: str,
    split: str,
    teachers: Sequence[Classifier],
    finder: YuNetDetector | None = None,
) -> list[MarkedImage]:
    """A collection's images of one split. What `finder` sees beside the marked faces counts
    neither for nor against: in crowds people did not mark everybody. Raises PhotosError."""
    made = []
    for each in tqdm(read_photographs(photos, collection, split=split), desc=collection):
        raster = _read(each.path)
        faces = each.faces + _unmarked(raster, [face.box for face in each.faces], finder)
        made.append(_photograph(raster, replace(each, faces=faces), teachers))
    return made


def portraits(
    photos: Path, split: str, teachers: Sequence[Classifier], *, teacher_share: float
) -> list[MarkedImage]:
    """Portraits whose expression one person named, which is one vote beside the teachers'; grey.
    Raises PhotosError."""
    named = {each.path: each for each in read_portraits(photos, split=split)}
    made = []
    for each in tqdm(read_photographs(photos, PORTRAITS, split=split), desc=PORTRAITS):
        portrait = named.get(each.path)
        if portrait is None or portrait.expression not in LABELS:
            continue
        raster = _read(each.path)
        others = tuple(face for face in each.faces if face.box != portrait.box)
        main = MarkedFace(portrait.box)
        picture = _photograph(raster, replace(each, faces=(main, *others)), ())
        said = np.eye(len(LABELS), dtype=np.float32)[LABELS.index(portrait.expression)]
        taught = _taught(raster, portrait.box, GIVEN_SCALE, teachers)
        picture.targets[0] = teacher_share * taught + (1 - teacher_share) * said
        made.append(replace(picture, image=raster.gray))
    return made


def crops(faces: NDArray[np.uint8], targets: NDArray[np.float32]) -> list[MarkedImage]:
    """Images of FER+ (n, size, size) with their targets (n, classes)."""
    box = np.array([FER_FACE], dtype=np.float32) * faces.shape[1]
    sure = np.ones(1, dtype=bool)
    return [MarkedImage(f, box, sure, t[None]) for f, t in zip(faces, targets, strict=True)]


def _read(path: Path) -> Raster:
    return ImageFile(path.read_bytes(), max_pixels=_MAX_PIXELS).read(color=True)


def _unmarked(
    raster: Raster, known: Sequence[Box], finder: YuNetDetector | None
) -> tuple[MarkedFace, ...]:
    found = [] if finder is None else finder.detect(raster, 0.0)
    return tuple(
        MarkedFace(each.box, sure=False)
        for each in found
        if all(iou(each.box, box) < SAME_FACE for box in known)
    )


def _photograph(
    raster: Raster, photograph: Photograph, teachers: Sequence[Classifier]
) -> MarkedImage:
    faces = photograph.faces
    targets = np.zeros((len(faces), len(LABELS)), dtype=np.float32)
    for target, face in zip(targets, faces, strict=True):
        # A mask hides half of what an expression is.
        if face.sure and face.condition in ("", "bare") and face.box.longer_side >= FEWEST_PIXELS:
            scale = DRAWN_SCALE if face.condition else GIVEN_SCALE
            taught = _taught(raster, face.box, scale, teachers)
            target[:] = taught if taught.max() >= UNDECIDED else 0
    boxes = np.array([face.box.xyxy for face in faces], dtype=np.float32).reshape(-1, 4)
    return MarkedImage(
        raster.bgr, boxes, np.array([face.sure for face in faces], dtype=bool), targets
    )


def _taught(
    raster: Raster, box: Box, box_scale: float, teachers: Sequence[Classifier]
) -> NDArray[np.float32]:
    total = np.zeros(len(LABELS), dtype=np.float32)
    for teacher in teachers:
        named = teacher.classify(raster.gray, [box], box_scale=box_scale)[0]
        total += [named[label] / len(teachers) for label in LABELS]
    return total


def with_quotas(
    pictures: Sequence[MarkedImage], most: int, generator: np.random.Generator
) -> list[MarkedImage]:
    """The same images with at most so many known expressions of each class: a teacher finds
    photographs full of neutral and happy faces."""
    rows = [(p, f) for p, each in enumerate(pictures) for f in range(len(each.boxes))]
    named = [(p, f) for p, f in rows if pictures[p].targets[f].any()]
    classes = np.array([pictures[p].targets[f].argmax() for p, f in named], dtype=int)
    kept = set()
    for label in np.unique(classes):
        own = generator.permutation(np.flatnonzero(classes == label))[:most]
        kept |= {named[index] for index in own}
    made = []
    for p, each in enumerate(pictures):
        keep = np.array([(p, f) in kept for f in range(len(each.boxes))], dtype=bool)
        made.append(replace(each, targets=each.targets * keep[:, None]))
    return made
