"""Geometric operations on images with boxes: cut, mirror, rotate, and remove invalid faces."""

import math
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from app.vision.image import resized
from training.data.annotated_images import MIN_EXPRESSION_SIDE, AnnotatedImage

MIN_VISIBLE = 0.5  # a face with a smaller share of its box inside the image is not sure
MIN_SURE_SIDE = 8.0  # pixels; a smaller face is not sure
MAX_SURE_FACES = 24


def cut(
    annotated: AnnotatedImage, corner: tuple[float, float], scale: float, width: int, height: int
) -> AnnotatedImage:
    """Return the region of this size at `corner`, after scaling. Pixels outside of the image are
    black."""
    left, top = corner
    rows, columns = annotated.image.shape[:2]
    x1, y1 = max(0, round(left)), max(0, round(top))
    x2 = min(columns, math.ceil(left + width / scale) + 1)  # one more pixel, for the rounding
    y2 = min(rows, math.ceil(top + height / scale) + 1)
    part = annotated.image[y1:y2, x1:x2]
    part = resized(part, scale)
    if part.ndim == 2:
        part = to_bgr(part)
    column, row = max(0, round(-left * scale)), max(0, round(-top * scale))
    image = np.zeros((height, width, 3), np.uint8)
    place = image[row : row + part.shape[0], column : column + part.shape[1]]
    place[:] = part[: place.shape[0], : place.shape[1]]
    boxes = (annotated.boxes - (x1, y1, x1, y1)) * scale + (column, row, column, row)
    return AnnotatedImage(image, *clipped(boxes, annotated.sure, width, height), annotated.targets)


def mirrored(annotated: AnnotatedImage) -> AnnotatedImage:
    """Return the mirror image."""
    x1, y1, x2, y2 = annotated.boxes.T
    width = annotated.image.shape[1]
    boxes = np.stack([width - x2, y1, width - x1, y2], axis=1)
    return replace(annotated, image=np.ascontiguousarray(annotated.image[:, ::-1]), boxes=boxes)


def rotated(annotated: AnnotatedImage, degrees: float) -> AnnotatedImage:
    """Rotate an image around its centre. Boxes keep their size, because a tilted head is as wide as
    an upright one."""
    height, width = annotated.image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    image = cv2.warpAffine(annotated.image, matrix, (width, height))
    centres = (annotated.boxes[:, :2] + annotated.boxes[:, 2:]) / 2
    half = (annotated.boxes[:, 2:] - annotated.boxes[:, :2]) / 2
    centres = centres @ matrix[:, :2].T + matrix[:, 2]
    boxes = np.concatenate([centres - half, centres + half], axis=1)
    inside, sure = clipped(boxes, annotated.sure, width, height)
    return AnnotatedImage(np.asarray(image, np.uint8), inside, sure, annotated.targets)


def clipped(
    boxes: NDArray[np.float32], sure: NDArray[np.bool_], width: int, height: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Clip boxes to the image. Faces with less than MIN_VISIBLE of their box inside become unsure.
    A box that is completely outside becomes empty."""
    inside = np.clip(boxes, 0, (width, height, width, height)).astype(np.float32)
    areas, visible = (np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (boxes, inside))
    return inside, sure & (visible >= MIN_VISIBLE * areas)


def finished(annotated: AnnotatedImage) -> AnnotatedImage:
    """Remove empty boxes and sort the faces by size, the largest first.

    Small faces, and faces after the first MAX_SURE_FACES, become unsure. The targets of faces with
    less than MIN_EXPRESSION_SIDE are removed.
    """
    sides = annotated.boxes[:, 2:] - annotated.boxes[:, :2]
    longer = sides.max(axis=1, initial=0)
    order = np.argsort(-longer, kind="stable")
    order = order[sides[order].min(axis=1, initial=np.inf) > 0]
    large = (longer >= MIN_SURE_SIDE)[order]
    return AnnotatedImage(
        np.ascontiguousarray(annotated.image),
        annotated.boxes[order],
        annotated.sure[order] & large & (np.arange(len(order)) < MAX_SURE_FACES),
        (annotated.targets * (longer >= MIN_EXPRESSION_SIDE)[:, None])[order],
    )


def to_bgr(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert a grey image to three equal channels."""
    return np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), np.uint8)
