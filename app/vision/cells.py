"""Boxes of the rows that this project's one-pass networks return, one row for each cell."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

STRIDES = (8, 16, 32)
BOX_VALUES = 5  # values of a row before the classes: t_x, t_y, t_w, t_h and objectness
MAX_LOG_SIZE = 6.0  # limit of ln(side / stride), above that of any face
MAX_CANDIDATES = 1000  # per square; those with the highest logits
MIN_LOGIT = -3.0  # cells below it are ignored
SAME_FACE_IOU = 0.6  # boxes that overlap by more belong to one face
MAX_STRIDE = STRIDES[-1]  # sides of squares are multiples of it
BoxArrays = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


@lru_cache(maxsize=8)
def grid(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The centres (cells, 2) in pixels and strides (cells, 1) of the cells of a square image:
    stride by stride, and row by row within a stride."""
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
    """Boxes xyxy (n, 4) in pixels from t_x, t_y, t_w, t_h (n, 4): the centre is that of the cell
    plus t_xy strides, the sides are exp(t_wh) strides."""
    middle = centres + answers[:, :2] * strides
    half = np.exp(np.minimum(answers[:, 2:], MAX_LOG_SIZE)) * strides / 2
    return np.concatenate([middle - half, middle + half], axis=1)


def find(answers: NDArray[np.float32], side: int, *, min_logit: float, nms_iou: float) -> BoxArrays:
    """Boxes xyxy (n, 4) in pixels of the square image, the logits that they hold a face (n,), and
    the logits of their classes (n, classes), by falling logit.

    `answers` (cells, 5 + classes) are t_x, t_y, t_w, t_h, objectness and classes of the cells of
    `grid`. Of boxes that overlap by more than `nms_iou` the one with the highest logit remains, and
    the others vote for it. Boxes with less than `min_logit` after the votes are dropped.
    """
    centres, strides = grid(side)
    chosen = candidates(answers, MIN_LOGIT)
    rows = answers[chosen]
    boxes = decode(rows[:, :4], centres[chosen], strides[chosen])
    kept = suppress(boxes, rows[:, 4], nms_iou)
    voted = votes(overlaps(boxes[kept], boxes), rows[:, 4])
    order = np.argsort(-voted, kind="stable")
    order = order[voted[order] >= min_logit]
    kept = kept[order]
    return boxes[kept], voted[order], rows[kept, 5:]


def candidates(answers: NDArray[np.float32], min_logit: float) -> NDArray[np.intp]:
    """The indices of the rows of `answers` with at least `min_logit`; of more than MAX_CANDIDATES,
    those with the highest logits."""
    chosen = np.flatnonzero(answers[:, 4] >= min_logit)
    if len(chosen) > MAX_CANDIDATES:
        chosen = chosen[np.argsort(-answers[chosen, 4], kind="stable")[:MAX_CANDIDATES]]
    return chosen


def votes(iou: NDArray[np.float32], logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logits (n,) that at least one of the boxes around a face is right, if their errors are
    independent. In training, one cell is chosen for each face. Where several cells fit equally
    well, as on small faces, each of them has a low logit although the face is plain.

    `iou` (n, m) are the overlaps with all m boxes, which have the `logits` (m,). The probability
    that all of them are wrong is exp(-S), where S is the sum of ln(1 + exp(logit)).
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
    """Non-maximum suppression: the indices of the `boxes` xyxy (n, 4) that no box with a higher
    logit overlaps by more than `nms_iou`, by falling logit."""
    sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    ranks = logits - logits.min(initial=0) + 1  # OpenCV keeps only scores above 0
    return np.array(cv2.dnn.NMSBoxes(sizes.tolist(), ranks.tolist(), 0.0, nms_iou), dtype=np.intp)
