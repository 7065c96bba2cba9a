"""Training scenes: views of photographs, mosaics of them, and faces pasted on them.

A scene is made from its number alone, so a run that is interrupted goes on with the scenes that it
would have seen, however many processes make them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from app.vision.image import resized
from training.data.damage import spoil, without_colors
from training.data.marked_images import FEWEST_PIXELS, MarkedImage
from training.data.pasting import free_corner, paste, tinted

FACE_SIDES = (12.0, 300.0)  # pixels in the scene
SCALES = (0.25, 4.0)  # of a photograph's pixels: large faces are rare in them
WHOLE_SHARE = 0.35  # of the views, as a image is served
MIRROR_SHARE = 0.5
TINT_SHARE = 0.6  # of the portraits, which are grey
TURN_SHARE, TURN_DEGREES = 0.25, 20.0
VISIBLE = 0.5  # of a box that is cut by the edge, for its face to count
FEWEST_SIDE = 8.0  # pixels; what is smaller counts neither for nor against
MOST_FACES = 24
MOSAIC_SHARE, PASTE_SHARE = 0.5, 0.3
LEAST_ROOM = 48  # pixels, for another view in a mosaic
PASTED_FACES, PASTED_PIECES = 9, 4  # at most
PASTED_SIDES = (20.0, 160.0)
ONE_LARGE_SHARE, LARGE_SIDES = 0.2, (120.0, 300.0)
GRAY_PASTE_SHARE = 0.7
PORTRAIT_PASTE_SHARE = 0.3


@dataclass(frozen=True)
class Collection:
    """Images to draw from, each as likely as its weight; `cumulated` (n,) are the sums of the
    weights up to each."""

    images: Sequence[MarkedImage]
    cumulated: NDArray[np.float64]

    @classmethod
    def of(cls, images: Sequence[MarkedImage], weights: NDArray[np.float64] | None = None) -> Self:
        return cls(images, np.cumsum(np.ones(len(images)) if weights is None else weights))

    def draw(self, generator: np.random.Generator) -> MarkedImage:
        place = np.searchsorted(self.cumulated, generator.random() * self.cumulated[-1], "right")
        return self.images[int(place)]


@dataclass(frozen=True)
class Sources:
    """`views` are what scenes are views of, each collection with its share; `empty` are photographs
    without faces, `crops` and `portraits` are what is pasted."""

    views: tuple[tuple[float, Collection], ...]
    empty: Collection
    crops: Collection
    portraits: Collection

    def draw(self, generator: np.random.Generator) -> MarkedImage:
        shares = np.cumsum([share for share, _ in self.views])
        index = int(np.searchsorted(shares, generator.random() * shares[-1]))
        return self.views[index][1].draw(generator)


def scene(
    sources: Sources, number: int, *, side: int, seed: int, mosaics: bool = True
) -> MarkedImage:
    """The scene of that number: `image` (side, side, 3) uint8 BGR, at most MOST_FACES of its faces
    sure."""
    generator = np.random.default_rng((seed, number))
    kind = generator.random()
    if mosaics and kind < MOSAIC_SHARE:
        made = mosaic(sources, side, side, generator)
    elif kind > 1 - PASTE_SHARE:
        made = pasted(sources, side, generator)
    else:
        made = view(sources.draw(generator), side, side, generator)
    if generator.random() < TURN_SHARE:
        made = turned(made, generator.uniform(-TURN_DEGREES, TURN_DEGREES))
    return marked(replace(made, image=spoil(made.image, generator)))


def _log_uniform(generator: np.random.Generator, low: float, high: float) -> float:
    return math.exp(generator.uniform(math.log(low), math.log(max(low, high))))


def view(
    picture: MarkedImage,
    width: int,
    height: int,
    generator: np.random.Generator,
    *,
    cover: bool = False,
) -> MarkedImage:
    """A part of the image, or all of it, at a random scale, (height, width, 3); with `cover` it
    leaves nothing black."""
    scale, middle = _scale(picture, width, height, generator)
    if cover:
        rows, columns = picture.image.shape[:2]
        scale = max(scale, width / columns, height / rows)
    return _view_at(picture, (width, height), scale, middle, generator)


def _scale(
    picture: MarkedImage, width: int, height: int, generator: np.random.Generator
) -> tuple[float, tuple[float, float] | None]:
    """Of a view of that size pixels for one of the image's, and what it must show, if anything:
    the middle of a face."""
    rows, columns = picture.image.shape[:2]
    if generator.random() < WHOLE_SHARE:
        scale = min(1.0, width / columns, height / rows)  # as served: never enlarged
        if picture.sure.any() and generator.random() < 0.5:
            scale *= generator.uniform(0.3, 1)  # so that large faces come in all sizes
        return scale, None
    if picture.sure.any():
        x1, y1, x2, y2 = picture.boxes[generator.choice(np.flatnonzero(picture.sure))]
        face = max(x2 - x1, y2 - y1)
        largest = min(FACE_SIDES[1], 0.95 * min(width, height))
        scale = np.clip(_log_uniform(generator, FACE_SIDES[0], largest) / face, *SCALES)
        return float(scale), ((x1 + x2) / 2, (y1 + y2) / 2)
    return _log_uniform(generator, 0.4, 1.6), None


def _view_at(
    picture: MarkedImage,
    size_wh: tuple[int, int],
    scale: float,
    middle: tuple[float, float] | None,
    generator: np.random.Generator,
) -> MarkedImage:
    width, height = size_wh
    rows, columns = picture.image.shape[:2]
    region = width / scale, height / scale
    left = _start(region[0], columns, middle and middle[0], generator)
    top = _start(region[1], rows, middle and middle[1], generator)
    if picture.image.ndim == 2 and generator.random() < TINT_SHARE:
        picture = replace(picture, image=tinted(picture.image, generator))
    part = cut(picture, (left, top), scale, width, height)
    return mirrored(part) if generator.random() < MIRROR_SHARE else part


def _start(region: float, size: int, middle: float | None, generator: np.random.Generator) -> float:
    """Where a region begins: so that `middle` lies anywhere in it, without leaving the image
    where the image is larger."""
    if region >= size:
        return 0.0 if generator.random() < 0.5 else -generator.uniform(0, region - size)
    if middle is None:
        return generator.uniform(0, size - region)
    return float(np.clip(middle - generator.uniform(0.1, 0.9) * region, 0, size - region))


def cut(
    picture: MarkedImage, corner: tuple[float, float], scale: float, width: int, height: int
) -> MarkedImage:
    """What lies in a region of the image, at that scale; black where the image ends."""
    left, top = corner
    rows, columns = picture.image.shape[:2]
    x1, y1 = max(0, round(left)), max(0, round(top))
    x2 = min(columns, math.ceil(left + width / scale) + 1)  # one more: what is too much is cut off
    y2 = min(rows, math.ceil(top + height / scale) + 1)
    part = picture.image[y1:y2, x1:x2]
    part = resized(part, scale)
    if part.ndim == 2:
        part = _in_three(part)
    column, row = max(0, round(-left * scale)), max(0, round(-top * scale))
    image = np.zeros((height, width, 3), np.uint8)
    place = image[row : row + part.shape[0], column : column + part.shape[1]]
    place[:] = part[: place.shape[0], : place.shape[1]]
    boxes = (picture.boxes - (x1, y1, x1, y1)) * scale + (column, row, column, row)
    return MarkedImage(image, *_clipped(boxes, picture.sure, width, height), picture.targets)


def mirrored(picture: MarkedImage) -> MarkedImage:
    x1, y1, x2, y2 = picture.boxes.T
    width = picture.image.shape[1]
    boxes = np.stack([width - x2, y1, width - x1, y2], axis=1)
    return replace(picture, image=np.ascontiguousarray(picture.image[:, ::-1]), boxes=boxes)


def _clipped(
    boxes: NDArray[np.float32], sure: NDArray[np.bool_], width: int, height: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Boxes within the image; faces that are cut too far are no longer sure. A box without
    anything inside stays, empty."""
    inside = np.clip(boxes, 0, (width, height, width, height)).astype(np.float32)
    areas, seen = (np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (boxes, inside))
    return inside, sure & (seen >= VISIBLE * areas)


def mosaic(
    sources: Sources, width: int, height: int, generator: np.random.Generator
) -> MarkedImage:
    """Views side by side (Bochkovskiy et al. 2020, arXiv 2004.10934), each at a scale of its own in
    the corner of the room that is left, and others beside and below it: black teaches nothing."""
    picture = sources.draw(generator)
    scale, middle = _scale(picture, width, height, generator)
    rows, columns = picture.image.shape[:2]
    wide, high = _used(columns * scale, width), _used(rows * scale, height)
    parts = [((0, 0), _view_at(picture, (wide, high), scale, middle, generator))]
    if wide < width:
        parts.append(((wide, 0), mosaic(sources, width - wide, height, generator)))
    if high < height:
        parts.append(((0, high), mosaic(sources, wide, height - high, generator)))
    image = np.empty((height, width, 3), np.uint8)
    for (x, y), part in parts:
        image[y : y + part.image.shape[0], x : x + part.image.shape[1]] = part.image
    return MarkedImage(
        image,
        np.concatenate([part.boxes + np.tile(xy, 2).astype(np.float32) for xy, part in parts]),
        np.concatenate([part.sure for _, part in parts]),
        np.concatenate([part.targets for _, part in parts]),
    )


def _used(size: float, room: int) -> int:
    """How much of the room a view of that size takes: all where too little would be left."""
    used = max(LEAST_ROOM, round(size))
    return used if room - used >= LEAST_ROOM else room


def pasted(sources: Sources, side: int, generator: np.random.Generator) -> MarkedImage:
    """A view with pieces on it that hold no face, and over them faces."""
    base = sources.empty if generator.random() < 0.6 else sources
    ground = view(base.draw(generator), side, side, generator, cover=True)
    gray = generator.random() < GRAY_PASTE_SHARE
    image = np.ascontiguousarray(without_colors(ground.image) if gray else ground.image)
    boxes, sure, targets = ground.boxes, ground.sure, ground.targets
    large = generator.random() < ONE_LARGE_SHARE
    wanted = 1 if large else int(generator.integers(1, PASTED_FACES + 1))
    for _ in range(int(generator.integers(PASTED_PIECES + 1))):
        size = round(_log_uniform(generator, *PASTED_SIDES))
        corner = free_corner(np.array((0, 0, size, size), np.float32), boxes, side, generator)
        if corner is not None:
            piece = _cut_square(sources.empty.draw(generator).image, size, generator)
            paste(image, without_colors(piece) if gray else piece, *corner, generator)
    for _ in range(wanted):
        from_portrait = generator.random() < PORTRAIT_PASTE_SHARE
        picture = (sources.portraits if from_portrait else sources.crops).draw(generator)
        low, high = LARGE_SIDES if large else PASTED_SIDES
        face = _log_uniform(generator, low, min(high, 0.95 * side))
        x1, y1, x2, y2 = picture.boxes[0]
        scale = face / max(x2 - x1, y2 - y1)
        size_wh = round(picture.image.shape[1] * scale), round(picture.image.shape[0] * scale)
        resample = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        face_image = np.asarray(
            cv2.resize(picture.image, size_wh, interpolation=resample), np.uint8
        )
        box = picture.boxes[0] * scale
        if generator.random() < MIRROR_SHARE:
            face_image = np.ascontiguousarray(face_image[:, ::-1])
            box = np.array((size_wh[0] - box[2], box[1], size_wh[0] - box[0], box[3]), np.float32)
        corner = free_corner(box, boxes, side, generator)
        if corner is None:
            continue
        colored = _in_three(face_image) if gray else tinted(face_image, generator)
        paste(image, colored, *corner, generator)
        boxes = np.concatenate([boxes, (box + np.tile(corner, 2))[None].astype(np.float32)])
        sure = np.append(sure, True)
        targets = np.concatenate([targets, picture.targets[:1]])
    return MarkedImage(image, *_clipped(boxes, sure, side, side), targets)


def _in_three(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), np.uint8)


def _cut_square(
    image: NDArray[np.uint8], size: int, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """A random square of a photograph, (size, size, 3)."""
    most = min(image.shape[:2])
    part = int(generator.integers(max(2, most // 8), max(3, most)))
    top = int(generator.integers(image.shape[0] - part + 1))
    left = int(generator.integers(image.shape[1] - part + 1))
    square = image[top : top + part, left : left + part]
    resample = cv2.INTER_AREA if part > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (size, size), interpolation=resample), np.uint8)


def turned(picture: MarkedImage, degrees: float) -> MarkedImage:
    """The scene turned around its centre. Boxes keep their sides: a head that is tilted is as wide
    as one that is not."""
    height, width = picture.image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    image = cv2.warpAffine(picture.image, matrix, (width, height))
    middle = (picture.boxes[:, :2] + picture.boxes[:, 2:]) / 2
    half = (picture.boxes[:, 2:] - picture.boxes[:, :2]) / 2
    middle = middle @ matrix[:, :2].T + matrix[:, 2]
    boxes = np.concatenate([middle - half, middle + half], axis=1)
    inside, sure = _clipped(boxes, picture.sure, width, height)
    return MarkedImage(np.asarray(image, np.uint8), inside, sure, picture.targets)


def marked(picture: MarkedImage) -> MarkedImage:
    """Without empty boxes, the largest first; what is too small, or beyond MOST_FACES, is no longer
    sure, and the expression of what is small not known."""
    sides = picture.boxes[:, 2:] - picture.boxes[:, :2]
    longer = sides.max(axis=1, initial=0)
    order = np.argsort(-longer, kind="stable")
    order = order[sides[order].min(axis=1, initial=np.inf) > 0]
    return MarkedImage(
        np.ascontiguousarray(picture.image),
        picture.boxes[order],
        (picture.sure & (longer >= FEWEST_SIDE))[order] & (np.arange(len(order)) < MOST_FACES),
        (picture.targets * (longer >= FEWEST_PIXELS)[:, None])[order],
    )
