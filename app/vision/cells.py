"""What a one-pass network answers for the cells of a picture, made into boxes."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

STRIDES = (8, 16, 32)
ANSWERS = 5  # of a cell before the classes: t_x, t_y, t_w, t_h and objectness
LARGEST_LOG = 6.0  # of a side over its stride: more than any picture has
MOST_CANDIDATES = 1000  # the surest; more are never one picture's faces
LEAST_LOGIT = -3.0  # of a cell that is heard at all
SAME_FACE_IOU = 0.6  # of boxes that speak of one face
COARSEST_STRIDE = STRIDES[-1]  # sides of squares are multiples of it
Found = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


@lru_cache(maxsize=8)
def grid(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centres (cells, 2) in pixels and strides (cells, 1) of the cells of a square picture: those
    of each stride row by row."""
    centres, strides = [], []
    for stride in STRIDES:
        steps = (np.arange(side // stride, dtype=np.float32) + 0.5) * stride
        columns, rows = np.meshgrid(steps, steps)
        centres.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((len(centres[-1]), 1), stride, np.float32))
    return np.concatenate(centres), np.concatenate(strides)


def decode(
    answers: NDArray[np.float32], centres: NDArray[np.float32], strides: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Boxes xyxy (n, 4) in pixels of t_x, t_y, t_w, t_h (n, 4): the centre is the cell's plus t_xy
    strides, the sides are exp(t_wh) strides."""
    middle = centres + answers[:, :2] * strides
    half = np.exp(np.minimum(answers[:, 2:], LARGEST_LOG)) * strides / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def find(answers: NDArray[np.float32], side: int, *, min_logit: float, nms_iou: float) -> Found:
    """Boxes xyxy (n, 4) in pixels of the square image, logits that they hold a face (n,) and of
    the classes (n, classes), the surest first.

    `answers` (cells, 5 + classes) are t_x, t_y, t_w, t_h, objectness and classes of the cells of
    `grid`. Of boxes that overlap by more than `nms_iou` the surest remains, and the others vote for
    it; it counts if it has `min_logit` then.
    """
    centres, strides = grid(side)
    chosen = candidates(answers, LEAST_LOGIT)
    rows = answers[chosen]
    boxes = decode(rows[:, :4], centres[chosen], strides[chosen])
    kept = suppress(boxes, rows[:, 4], nms_iou)
    voted = votes(overlaps(boxes[kept], boxes), rows[:, 4])
    order = np.argsort(-voted, kind="stable")
    order = order[voted[order] >= min_logit]
    kept = kept[order]
    return boxes[kept], voted[order], rows[kept, 5:]


def candidates(answers: NDArray[np.float32], min_logit: float) -> NDArray[np.intp]:
    """The rows of `answers` from `min_logit` on, of too many the surest."""
    chosen = np.flatnonzero(answers[:, 4] >= min_logit)
    if len(chosen) > MOST_CANDIDATES:
        chosen = chosen[np.argsort(-answers[chosen, 4], kind="stable")[:MOST_CANDIDATES]]
    return chosen


def votes(iou: NDArray[np.float32], logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logits (n,) that at least one of the boxes around the same face is right, as if each
    erred by itself: a cell learns that it is the one that was chosen for a face, so where several
    fit alike, as on small faces, none of them is sure though the face is plain.

    `iou` (n, m) are the overlaps with all m boxes, whose `logits` (m,) are given. The odds against
    all are exp(-S), S being the sum of ln(1 + exp(logit)).
    """
    alike = (iou >= SAME_FACE_IOU).astype(np.float64)
    total = alike @ np.logaddexp(0, logits.astype(np.float64))
    return np.asarray(total + np.log1p(-np.exp(-total)), dtype=np.float32)


def overlaps(boxes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU (n, m) of boxes xyxy (n, 4) and (m, 4)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas, other_areas = (np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (boxes, others))
    return np.asarray(shared / (areas[:, None] + other_areas - shared + 1e-9), dtype=np.float32)


def suppress(
    boxes: NDArray[np.float32], logits: NDArray[np.float32], nms_iou: float
) -> NDArray[np.intp]:
    """The rows of `boxes` xyxy (n, 4) that no surer one overlaps by more than `nms_iou`, the surest
    first."""
    sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    ranks = logits - logits.min(initial=0) + 1  # OpenCV keeps only scores above 0
    return np.array(cv2.dnn.NMSBoxes(sizes.tolist(), ranks.tolist(), 0.0, nms_iou), dtype=np.intp)
