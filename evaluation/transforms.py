"""Transforms of the crops of small faces, compared with the crop of the service.

EmoSense used super-resolution between crop and classifier. A transform returns the crop of one face
for the classifier. Images are downscaled by area interpolation, as if the camera were farther away,
and the boxes of the faces are given.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from app.vision.classifier import Classifier
from app.vision.image import crop_face
from app.vision.types import Box
from evaluation.field import GIVEN, read_rasters, service_scale
from evaluation.metrics import bootstrap_interval
from testbed.markdown import percent, table
from training.data import Split
from training.data.photos import Portrait
from training.ferplus_labels import majority

SIDES = (16, 20, 24, 32, 40)  # pixels of the box's longer side
SMALL = 24
CLIP_LIMIT, TILES = 2.0, (4, 4)
SHARPEN, SHARPEN_SIGMA = 0.7, 1.0
PLAIN = "none"


def plain(gray: NDArray[np.uint8], box: Box, size: int, scale: float) -> NDArray[np.uint8]:
    """The crop of the service, enlarged linearly."""
    return crop_face(gray, box, size=size, scale=scale)


def clahe(gray: NDArray[np.uint8], box: Box, size: int, scale: float) -> NDArray[np.uint8]:
    """The crop of the service with adaptive histogram equalisation (CLAHE, Zuiderveld 1994)."""
    crop = crop_face(gray, box, size=size, scale=scale)
    return np.asarray(cv2.createCLAHE(CLIP_LIMIT, TILES).apply(crop), np.uint8)


def bicubic(gray: NDArray[np.uint8], box: Box, size: int, scale: float) -> NDArray[np.uint8]:
    """The crop, enlarged by bicubic interpolation if the face is smaller than the crop."""
    factor = max(1.0, size / (box.longer_side * scale))
    enlarged = cv2.resize(gray, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return crop_face(np.asarray(enlarged, np.uint8), box.scaled(factor), size=size, scale=scale)


def sharpened(gray: NDArray[np.uint8], box: Box, size: int, scale: float) -> NDArray[np.uint8]:
    """`bicubic`, then an unsharp mask: c + .7 (c − blurred c)."""
    crop = bicubic(gray, box, size, scale)
    blurred = cv2.GaussianBlur(crop, (0, 0), SHARPEN_SIGMA)
    return np.asarray(cv2.addWeighted(crop, 1 + SHARPEN, blurred, -SHARPEN, 0), np.uint8)


TRANSFORMS: dict[str, Callable[[NDArray[np.uint8], Box, int, float], NDArray[np.uint8]]] = {
    PLAIN: plain,
    "clahe": clahe,
    "bicubic": bicubic,
    "bicubic and sharpened": sharpened,
}


@dataclass(frozen=True)
class Sample:
    """A grey image with one face and its label."""

    gray: NDArray[np.uint8]
    box: Box
    label: str

    def downscaled(self, side: float) -> "Sample":
        """The sample, resized so that the longer side of the face has `side` pixels."""
        factor = side / self.box.longer_side
        width, height = (max(1, round(length * factor)) for length in self.gray.shape[::-1])
        gray = cv2.resize(self.gray, (width, height), interpolation=cv2.INTER_AREA)
        return Sample(np.asarray(gray, np.uint8), self.box.scaled(factor), self.label)


def from_ferplus(faces: Split, labels: Sequence[str]) -> list[Sample]:
    """Images with a majority label. The box of the face is the whole image."""
    majority_labels = majority(faces.votes)
    side = float(faces.crops.shape[1])
    box = Box(0, 0, side, side)
    return [
        Sample(crop, box, labels[label])
        for crop, label in zip(faces.crops, majority_labels, strict=True)
        if label >= 0
    ]


def from_portraits(portraits: list[Portrait], labels: Sequence[str]) -> list[Sample]:
    rasters = read_rasters(portraits)
    return [
        Sample(raster.gray, portrait.box, portrait.expression)
        for portrait, raster in zip(portraits, rasters, strict=True)
        if portrait.expression in labels
    ]


def classify_small(
    classifier: Classifier, samples: Sequence[Sample], side: float, transform: str, scale: float
) -> NDArray[np.float64]:
    """Whether each face (n,), downscaled to `side` pixels, is classified correctly: 1 or 0."""
    size, transformed = classifier.card.input_size, TRANSFORMS[transform]
    small = [sample.downscaled(side) for sample in samples]
    crops = np.stack([transformed(each.gray, each.box, size, scale) for each in small])
    predicted = classifier.predict(crops).argmax(axis=1)
    labels = classifier.card.labels
    hits = [labels[index] == sample.label for index, sample in zip(predicted, samples, strict=True)]
    return np.array(hits, float)


@dataclass(frozen=True)
class TransformResult:
    """The accuracy with a transform.

    `low` and `high` are the 95 % interval of the difference to the accuracy without a transform.
    """

    accuracy: float
    low: float
    high: float

    def __str__(self) -> str:
        if not self.low and not self.high:
            return percent(self.accuracy)
        return f"{percent(self.accuracy)} ({100 * self.low:+.1f} to {100 * self.high:+.1f})"


TransformResults = dict[tuple[str, str], dict[int, TransformResult]]
"""Results by (set of faces, transform), then by size."""


def measure_transforms(
    classifier: Classifier, faces: Split, portraits: list[Portrait]
) -> TransformResults:
    """Measure every transform on both sets of faces."""
    labels = classifier.card.labels
    sets = (
        ("FER+", from_ferplus(faces, labels), 1.0),
        ("portraits", from_portraits(portraits, labels), service_scale(classifier.card, GIVEN)),
    )
    results: TransformResults = {}
    for name, samples, scale in sets:
        plain_hits = {
            side: classify_small(classifier, samples, side, PLAIN, scale) for side in SIDES
        }
        for transform in TRANSFORMS:
            by_side = results.setdefault((f"{name} ({len(samples)})", transform), {})
            for side in SIDES:
                hits = classify_small(classifier, samples, side, transform, scale)
                by_side[side] = TransformResult(
                    float(hits.mean()), *bootstrap_interval(hits - plain_hits[side])
                )
    return results


def significant_transforms(all_results: TransformResults) -> list[str]:
    """The transforms that significantly improve both sets of faces at all sizes up to SMALL."""
    return [
        transform
        for transform in TRANSFORMS
        if all(
            result.low > 0
            for (_, name), by_side in all_results.items()
            if name == transform
            for side, result in by_side.items()
            if side <= SMALL
        )
    ]


def transforms_table(all_results: TransformResults) -> str:
    """Accuracy by set of faces and transform (rows) and size."""
    return table(
        ["faces", "transform", *(f"{side} px" for side in SIDES)],
        [[*key, *map(str, by_side.values())] for key, by_side in all_results.items()],
    )
