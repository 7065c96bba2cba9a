"""The images of a scene pack, with boxes and expressions, one function per collection.

Only training splits are used. Portraits with annotations of the vision-language model, and ExpW
images with a validation face, are left out. The expressions are predictions of a classifier, mixed
with the annotations where there are any.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from app.vision.image import ImageFile, Raster
from app.vision.types import Box
from testbed.boxes import iou
from training import ferplus_labels
from training.data import first_of_each, read_split
from training.data.annotated_images import (
    DRAWN_SCALE,
    MIN_EXPRESSION_SIDE,
    SAME_FACE_IOU,
    YUNET_SCALE,
)
from training.data.pack_models import FaceDetector, Teacher
from training.data.photos import (
    PORTRAITS,
    AnnotatedFace,
    portraits_with_readings,
    read_photographs,
    read_portraits,
)
from training.data.scene_pack import TILE
from training.data.wild import WildFace, by_image, read_wild
from training.ferplus_labels import LABELS

# WebP quality and longest side of each collection. The pack then has less than 54 MB.
STORED = {
    "natural": (66, 416),
    "empty": (55, 352),
    "crowds": (72, 416),
    "expw": (58, 384),
    "portraits": (70, 192),
}
MAX_PORTRAITS = 600  # per expression
MAX_CROPS = {"neutral": 2800, "happiness": 2200, "surprise": 2400, "sadness": 3000, "anger": 2400}
ANNOTATED_SHARE = 0.75  # share of two annotations in a target; the rest is the prediction
SURE_SCORE = 0.8  # a face with this score of YuNet must be detected
# Edges of YuNet's boxes, relative to the centre and side of ExpW's boxes: medians over 635 faces.
TIGHT = (-0.365, -0.447, 0.371, 0.546)
UNDECIDED = 0.45  # predictions with a lower maximum are not used
# The weight of a face in the expression loss, by the origin of its target.
ANNOTATED_WEIGHT, PREDICTED_WEIGHT, CROP_WEIGHT = 1.5, 0.6, 1.0
_MAX_PIXELS = 50_000_000

Item = TypeVar("Item")


@dataclass(frozen=True)
class EncodedImage:
    """An encoded image with its faces: `boxes` (n, 4), `sure` (n,), and `targets` (n, classes),
    which are multiplied by the weight of the face."""

    file: bytes
    collection: str
    boxes: NDArray[np.float32]
    sure: NDArray[np.bool_]
    targets: NDArray[np.float32]


@dataclass(frozen=True)
class Chunk:
    """The items for one of `count` processes: every `count`-th from `first`, at most `limit`."""

    first: int
    count: int
    limit: int | None

    def __call__(self, items: Iterable[Item]) -> Sequence[Item]:
        return list(items)[self.first :: self.count][: self.limit]


def photographs(
    photos: Path, collection: str, teacher: Teacher, yunet: FaceDetector, chunk: Chunk
) -> Iterator[EncodedImage]:
    """Return the images of `natural` or `crowds`. The annotations of crowds are incomplete, so
    faces that only YuNet detects are not sure."""
    for photograph in chunk(read_photographs(photos, collection, split="train")):
        raster = _read(photograph.path)
        faces = list(photograph.faces)
        if collection == "crowds":
            detected = [box for box, _ in yunet(raster.bgr)]
            faces += [
                AnnotatedFace(box, sure=False)
                for box in detected
                if all(iou(box, face.box) < SAME_FACE_IOU for face in photograph.faces)
            ]
        usable = [
            row
            for row, face in enumerate(faces)
            if face.sure and face.condition in ("", "bare") and _is_large(face.box)
        ]
        scale = DRAWN_SCALE if collection == "crowds" else YUNET_SCALE
        targets = np.zeros((len(faces), len(LABELS)), np.float32)
        predictions = teacher(raster, [faces[row].box for row in usable], scale)
        targets[usable] = _weighted(predictions)
        name = collection if faces else "empty"
        yield _encoded_image(raster, name, [f.box for f in faces], [f.sure for f in faces], targets)


def wild(data: Path, teacher: Teacher, yunet: FaceDetector, chunk: Chunk) -> Iterator[EncodedImage]:
    """Return the training images of ExpW.

    The boxes of ExpW are loose, so they are replaced by those of YuNet where it detects the face.
    A face that YuNet does not detect is sure if its expression was recognised.
    """
    for path, faces in chunk(by_image(read_wild(data, "train")).items()):
        raster = _read(path)
        detected = yunet(raster.bgr)
        boxes = [box for box, _ in detected]
        sure = [score >= SURE_SCORE for _, score in detected]
        annotations: list[tuple[str, ...]] = [()] * len(boxes)
        for face in faces:
            match = max(
                range(len(detected)), key=lambda row: iou(boxes[row], face.box), default=None
            )
            labels = tuple(reading.label for reading in face.readings)
            recognised = any(label in LABELS for label in labels)
            if match is not None and iou(boxes[match], face.box) >= SAME_FACE_IOU:
                sure[match] = sure[match] or recognised
                annotations[match] = labels
            else:
                boxes.append(_tight(face))
                sure.append(recognised)
                annotations.append(labels)
        predictions = teacher(raster, boxes, YUNET_SCALE)
        targets = _weighted(predictions)
        for row, labels in enumerate(annotations):
            emotions = [LABELS.index(label) for label in labels if label in LABELS]
            if emotions:
                annotated = np.eye(len(LABELS), dtype=np.float32)[emotions].mean(axis=0)
                share = ANNOTATED_SHARE * len(emotions) / 2
                mixed = share * annotated + (1 - share) * predictions[row]
                targets[row] = ANNOTATED_WEIGHT * mixed
            elif labels or not sure[row] or not _is_large(boxes[row]):
                targets[row] = 0
        yield _encoded_image(raster, "expw", boxes, sure, targets)


def _tight(face: WildFace) -> Box:
    """Convert a box of ExpW to the size and position of YuNet's boxes."""
    box, (left, top, right, bottom) = face.box, TIGHT
    x, y = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
    side = box.longer_side
    return Box(x + left * side, y + top * side, x + right * side, y + bottom * side)


def portraits(photos: Path, teacher: Teacher, chunk: Chunk) -> Iterator[EncodedImage]:
    """Return at most MAX_PORTRAITS portraits per expression. The label of one person has a share of
    a quarter in the target."""
    excluded = portraits_with_readings(photos)
    candidates = []
    labels = _portrait_labels(photos)
    for photograph in read_photographs(photos, PORTRAITS, split="train"):
        if photograph.path not in excluded and photograph.path in labels:
            candidates.append(photograph)
    order = np.random.default_rng(0).permutation(len(candidates))
    counts: dict[str, int] = {}
    chosen = []
    for index in order:
        label = labels[candidates[index].path][1]
        counts[label] = counts.get(label, 0) + 1
        if counts[label] <= MAX_PORTRAITS:
            chosen.append(candidates[index])
    for photograph in chunk(chosen):
        raster = _read(photograph.path)
        main, label = labels[photograph.path]
        others = [face for face in photograph.faces if face.box != main]
        boxes = [main, *(face.box for face in others)]
        sure = [True, *(face.sure for face in others)]
        targets = np.zeros((len(boxes), len(LABELS)), np.float32)
        one_hot = np.eye(len(LABELS), dtype=np.float32)[LABELS.index(label)]
        targets[0] = 0.25 * one_hot + 0.75 * teacher(raster, [main], YUNET_SCALE)[0]
        yield _encoded_image(raster, "portraits", boxes, sure, targets)


def _portrait_labels(photos: Path) -> dict[Path, tuple[Box, str]]:
    return {
        each.path: (each.box, each.expression)
        for each in read_portraits(photos, split="train")
        if each.expression in LABELS
    }


def crops(folder: Path, teacher: Teacher) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return FER+ training crops (n, TILE, TILE) without validation images, at most MAX_CROPS of
    each class, and their targets (n, classes): the mean of the votes and the prediction."""
    faces = read_split(folder, "train", size=TILE)
    keep = ferplus_labels.usable_for_training(faces.votes) & first_of_each(faces.digests)
    keep &= ~np.isin(faces.digests, read_split(folder, "valid", size=TILE).digests)
    targets = ferplus_labels.distribution(faces.votes[keep])
    label = targets.argmax(axis=1)
    generator = np.random.default_rng(0)
    chosen = []
    for index, name in enumerate(LABELS):
        rows = generator.permutation(np.flatnonzero(label == index))
        chosen.append(rows[: MAX_CROPS.get(name, len(rows))])
    rows = np.concatenate(chosen)
    images = faces.crops[keep][rows]
    mixed = 0.5 * teacher.predict(images) + 0.5 * targets[rows]
    return images, (CROP_WEIGHT * mixed).astype(np.float32)


def encode(image: NDArray[np.uint8], quality: int) -> bytes:
    """Encode an image as WebP."""
    return bytes(cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])[1])


def _weighted(predictions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Multiply by the weight of predictions, which is 0 for undecided ones."""
    decided = predictions.max(axis=1, keepdims=True, initial=0) >= UNDECIDED
    return PREDICTED_WEIGHT * predictions * decided


def _is_large(box: Box) -> bool:
    return box.longer_side >= MIN_EXPRESSION_SIDE


def _read(path: Path) -> Raster:
    return ImageFile(path.read_bytes(), max_pixels=_MAX_PIXELS).read(color=True)


def _encoded_image(
    raster: Raster,
    collection: str,
    boxes: Sequence[Box],
    sure: Sequence[bool],
    targets: NDArray[np.float32],
) -> EncodedImage:
    quality, max_side = STORED[collection]
    image = raster.bgr
    factor = min(1.0, max_side / max(image.shape[:2]))
    if factor < 1:
        image = np.asarray(
            cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8
        )
    rows = np.array([box.xyxy for box in boxes], np.float32).reshape(-1, 4) * factor
    return EncodedImage(encode(image, quality), collection, rows, np.array(sure, bool), targets)
