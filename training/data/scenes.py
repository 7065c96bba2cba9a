"""Training scenes: views of photographs, mosaics of views, and pasted faces.

A scene depends only on its number and the seed. An interrupted run therefore continues with the
same scenes, with any number of workers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.annotated_images import AnnotatedImage
from training.data.corruption import corrupt, without_colors
from training.data.pasting import free_corner, paste, tinted
from training.data.scene_geometry import clipped, cut, finished, mirrored, rotated, to_bgr

FACE_SIDES = (12.0, 300.0)  # range of the face sizes in scenes, in pixels
SCALES = (0.25, 4.0)  # range of the scales of photographs
WHOLE_SHARE = 0.35  # share of the views that show the whole image
MIRROR_SHARE = 0.5
TINT_SHARE = 0.6  # share of the portraits, which are grey, that get a skin colour
ROTATED_SHARE, MAX_DEGREES = 0.25, 20.0
MOSAIC_SHARE, PASTE_SHARE = 0.5, 0.3
MIN_ROOM = 48  # side in pixels of the smallest part of a mosaic
MAX_PASTED_FACES, MAX_PASTED_PIECES = 9, 4
PASTED_SIDES = (20.0, 160.0)
ONE_LARGE_SHARE, LARGE_SIDES = 0.2, (120.0, 300.0)
GRAY_PASTE_SHARE = 0.7
PORTRAIT_PASTE_SHARE = 0.3


@dataclass(frozen=True)
class Collection:
    """Images that are sampled by weight. `cumulated` (n,) are the cumulated weights."""

    images: Sequence[AnnotatedImage]
    cumulated: NDArray[np.float64]

    @classmethod
    def of(
        cls, images: Sequence[AnnotatedImage], weights: NDArray[np.float64] | None = None
    ) -> Self:
        return cls(images, np.cumsum(np.ones(len(images)) if weights is None else weights))

    def draw(self, generator: np.random.Generator) -> AnnotatedImage:
        index = np.searchsorted(self.cumulated, generator.random() * self.cumulated[-1], "right")
        return self.images[int(index)]


@dataclass(frozen=True)
class Sources:
    """The images of scenes. `views` are collections with their shares, `empty` are photographs
    without faces, and faces of `crops` and `portraits` are pasted."""

    views: tuple[tuple[float, Collection], ...]
    empty: Collection
    crops: Collection
    portraits: Collection

    def draw(self, generator: np.random.Generator) -> AnnotatedImage:
        shares = np.cumsum([share for share, _ in self.views])
        index = int(np.searchsorted(shares, generator.random() * shares[-1]))
        return self.views[index][1].draw(generator)


def scene(
    sources: Sources, number: int, *, side: int, seed: int, mosaics: bool = True
) -> AnnotatedImage:
    """Return the scene with this number. Its `image` is (side, side, 3) uint8 BGR, and at most
    MAX_SURE_FACES of its faces are sure."""
    generator = np.random.default_rng((seed, number))
    kind = generator.random()
    if mosaics and kind < MOSAIC_SHARE:
        image = mosaic(sources, side, side, generator)
    elif kind > 1 - PASTE_SHARE:
        image = pasted(sources, side, generator)
    else:
        image = view(sources.draw(generator), side, side, generator)
    if generator.random() < ROTATED_SHARE:
        image = rotated(image, generator.uniform(-MAX_DEGREES, MAX_DEGREES))
    return finished(replace(image, image=corrupt(image.image, generator)))


def _log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return math.exp(generator.uniform(math.log(low), math.log(max(low, high))))


def view(
    annotated: AnnotatedImage,
    width: int,
    height: int,
    generator: np.random.Generator,
    *,
    cover: bool = False,
) -> AnnotatedImage:
    """Return a view (height, width, 3) of the image or of a part of it, at a random scale. With
    `cover`, the view has no black area."""
    scale, centre = _scale(annotated, width, height, generator)
    if cover:
        rows, columns = annotated.image.shape[:2]
        scale = max(scale, width / columns, height / rows)
    return _view_at(annotated, (width, height), scale, centre, generator)


def _scale(
    annotated: AnnotatedImage, width: int, height: int, generator: np.random.Generator
) -> tuple[float, tuple[float, float] | None]:
    """Choose the scale of a view of this size. If the view must show a face, also return the centre
    of the face."""
    rows, columns = annotated.image.shape[:2]
    if generator.random() < WHOLE_SHARE:
        scale = min(1.0, width / columns, height / rows)  # as in the service: not enlarged
        if annotated.sure.any() and generator.random() < 0.5:
            scale *= generator.uniform(0.3, 1)  # varies the size of large faces
        return scale, None
    if annotated.sure.any():
        x1, y1, x2, y2 = annotated.boxes[generator.choice(np.flatnonzero(annotated.sure))]
        face = max(x2 - x1, y2 - y1)
        largest = min(FACE_SIDES[1], 0.95 * min(width, height))
        scale = np.clip(_log_uniform(generator, FACE_SIDES[0], largest) / face, *SCALES)
        return float(scale), ((x1 + x2) / 2, (y1 + y2) / 2)
    return _log_uniform(generator, 0.4, 1.6), None


def _view_at(
    annotated: AnnotatedImage,
    size_wh: tuple[int, int],
    scale: float,
    centre: tuple[float, float] | None,
    generator: np.random.Generator,
) -> AnnotatedImage:
    width, height = size_wh
    rows, columns = annotated.image.shape[:2]
    region = width / scale, height / scale
    left = _start(region[0], columns, centre and centre[0], generator)
    top = _start(region[1], rows, centre and centre[1], generator)
    if annotated.image.ndim == 2 and generator.random() < TINT_SHARE:
        annotated = replace(annotated, image=tinted(annotated.image, generator))
    part = cut(annotated, (left, top), scale, width, height)
    return mirrored(part) if generator.random() < MIRROR_SHARE else part


def _start(region: float, size: int, centre: float | None, generator: np.random.Generator) -> float:
    """Choose the start of a region that contains `centre`. If the image is larger than the region,
    the region is inside the image."""
    if region >= size:
        return 0.0 if generator.random() < 0.5 else -generator.uniform(0, region - size)
    if centre is None:
        return generator.uniform(0, size - region)
    return float(np.clip(centre - generator.uniform(0.1, 0.9) * region, 0, size - region))


def mosaic(
    sources: Sources, width: int, height: int, generator: np.random.Generator
) -> AnnotatedImage:
    """Return a mosaic of views with different scales (Bochkovskiy et al. 2020, arXiv 2004.10934).

    The first view is in the upper left corner. The remaining areas to the right and below are
    filled with further views.
    """
    annotated = sources.draw(generator)
    scale, centre = _scale(annotated, width, height, generator)
    rows, columns = annotated.image.shape[:2]
    wide, high = _used(columns * scale, width), _used(rows * scale, height)
    parts = [((0, 0), _view_at(annotated, (wide, high), scale, centre, generator))]
    if wide < width:
        parts.append(((wide, 0), mosaic(sources, width - wide, height, generator)))
    if high < height:
        parts.append(((0, high), mosaic(sources, wide, height - high, generator)))
    image = np.empty((height, width, 3), np.uint8)
    for (x, y), part in parts:
        image[y : y + part.image.shape[0], x : x + part.image.shape[1]] = part.image
    return AnnotatedImage(
        image,
        np.concatenate([part.boxes + np.tile(xy, 2).astype(np.float32) for xy, part in parts]),
        np.concatenate([part.sure for _, part in parts]),
        np.concatenate([part.targets for _, part in parts]),
    )


def _used(size: float, room: int) -> int:
    """Return the part of `room` that a view of this size fills: all of it, if less than MIN_ROOM
    would remain."""
    used = max(MIN_ROOM, round(size))
    return used if room - used >= MIN_ROOM else room


def pasted(sources: Sources, side: int, generator: np.random.Generator) -> AnnotatedImage:
    """Return a view with pasted faces, and with pasted pieces of photographs without faces."""
    base = sources.empty if generator.random() < 0.6 else sources
    background = view(base.draw(generator), side, side, generator, cover=True)
    gray = generator.random() < GRAY_PASTE_SHARE
    image = np.ascontiguousarray(without_colors(background.image) if gray else background.image)
    boxes, sure, targets = background.boxes, background.sure, background.targets
    large = generator.random() < ONE_LARGE_SHARE
    count = 1 if large else int(generator.integers(1, MAX_PASTED_FACES + 1))
    for _ in range(int(generator.integers(MAX_PASTED_PIECES + 1))):
        size = round(_log_uniform(generator, *PASTED_SIDES))
        corner = free_corner(np.array((0, 0, size, size), np.float32), boxes, side, generator)
        if corner is not None:
            piece = _cut_square(sources.empty.draw(generator).image, size, generator)
            paste(image, without_colors(piece) if gray else piece, *corner, generator)
    for _ in range(count):
        from_portrait = generator.random() < PORTRAIT_PASTE_SHARE
        annotated = (sources.portraits if from_portrait else sources.crops).draw(generator)
        low, high = LARGE_SIDES if large else PASTED_SIDES
        face = _log_uniform(generator, low, min(high, 0.95 * side))
        x1, y1, x2, y2 = annotated.boxes[0]
        scale = face / max(x2 - x1, y2 - y1)
        size_wh = round(annotated.image.shape[1] * scale), round(annotated.image.shape[0] * scale)
        resample = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        face_image = np.asarray(
            cv2.resize(annotated.image, size_wh, interpolation=resample), np.uint8
        )
        box = annotated.boxes[0] * scale
        if generator.random() < MIRROR_SHARE:
            face_image = np.ascontiguousarray(face_image[:, ::-1])
            box = np.array((size_wh[0] - box[2], box[1], size_wh[0] - box[0], box[3]), np.float32)
        corner = free_corner(box, boxes, side, generator)
        if corner is None:
            continue
        colored = to_bgr(face_image) if gray else tinted(face_image, generator)
        paste(image, colored, *corner, generator)
        boxes = np.concatenate([boxes, (box + np.tile(corner, 2))[None].astype(np.float32)])
        sure = np.append(sure, True)
        targets = np.concatenate([targets, annotated.targets[:1]])
    return AnnotatedImage(image, *clipped(boxes, sure, side, side), targets)


def _cut_square(
    image: NDArray[np.uint8], size: int, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Return a random square of a photograph, resized to (size, size, 3)."""
    shorter = min(image.shape[:2])
    part = int(generator.integers(max(2, shorter // 8), max(3, shorter)))
    top = int(generator.integers(image.shape[0] - part + 1))
    left = int(generator.integers(image.shape[1] - part + 1))
    square = image[top : top + part, left : left + part]
    resample = cv2.INTER_AREA if part > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (size, size), interpolation=resample), np.uint8)
