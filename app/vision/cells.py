"""Decodes the output of this project's single-shot networks into boxes.

The network divides a square image into cells of three sizes (strides). It returns one row per cell.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

STRIDES = (8, 16, 32)
BOX_VALUES = 5  # number of values of a row before the classes: t_x, t_y, t_w, t_h, objectness
MAX_LOG_SIZE = 6.0  # limit of ln(side / stride), larger than for any face
MAX_CANDIDATES = 1000  # maximum number of cells per square; cells with the highest logits are used
MIN_LOGIT = -3.0  # cells with a lower logit are ignored
SAME_FACE_IOU = 0.6  # boxes with at least this overlap belong to the same face
MAX_STRIDE = STRIDES[-1]  # the side of a square must be a multiple of it
BoxArrays = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


@lru_cache(maxsize=8)
def grid(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the centres (cells, 2) in pixels and the strides (cells, 1) of the cells of a square
    image with this side. Cells are ordered by stride, and row by row within a stride."""
    centres, strides = [], []
    for stride in STRIDES:
        steps = (np.arange(side // stride, dtype=np.float32) + 0.5) * stride
        columns, rows = np.meshgrid(steps, steps)
        centres.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((len(centres[-1]), 1), stride, np.float32))
    return np.concatenate(centres), np.concatenate(strides)


def decode(
    outputs: NDArray[np.float32], centres: NDArray[np.float32], strides: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Decode t_x, t_y, t_w, t_h (n, 4) into boxes xyxy (n, 4) in pixels.

    The centre is the centre of the cell plus t_xy strides. The sides are exp(t_wh) strides.
    """
    box_centres = centres + outputs[:, :2] * strides
    half = np.exp(np.minimum(outputs[:, 2:], MAX_LOG_SIZE)) * strides / 2
    return np.concatenate([box_centres - half, box_centres + half], axis=1)


def find(outputs: NDArray[np.float32], side: int, *, min_logit: float, nms_iou: float) -> BoxArrays:
    """Decode the output for one square image with this side into boxes.

    `outputs` (cells, 5 + classes) contains t_x, t_y, t_w, t_h, objectness and class logits for each
    cell of `grid`. Non-maximum suppression removes boxes that overlap a better box by more than
    `nms_iou`. The logits of the suppressed boxes raise the logit of the box that remains: see
    `combined_logits`. Then boxes below `min_logit` are removed.

    Returns boxes xyxy (n, 4) in pixels of the square, face logits (n,) and class logits
    (n, classes), in descending order of the face logit.
    """
    centres, strides = grid(side)
    chosen = candidates(outputs, MIN_LOGIT)
    rows = outputs[chosen]
    boxes = decode(rows[:, :4], centres[chosen], strides[chosen])
    remaining = non_max_suppression(boxes, rows[:, 4], nms_iou)
    combined = combined_logits(iou_matrix(boxes[remaining], boxes), rows[:, 4])
    order = np.argsort(-combined, kind="stable")
    order = order[combined[order] >= min_logit]
    remaining = remaining[order]
    return boxes[remaining], combined[order], rows[remaining, 5:]


def candidates(outputs: NDArray[np.float32], min_logit: float) -> NDArray[np.intp]:
    """Return the indices of the rows of `outputs` with a face logit of at least `min_logit`. If
    there are more than MAX_CANDIDATES, returns the rows with the highest logits."""
    chosen = np.flatnonzero(outputs[:, 4] >= min_logit)
    if len(chosen) > MAX_CANDIDATES:
        chosen = chosen[np.argsort(-outputs[chosen, 4], kind="stable")[:MAX_CANDIDATES]]
    return chosen


def combined_logits(iou: NDArray[np.float32], logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Combine the logits of boxes around the same face (noisy OR).

    Assumes that the errors of the boxes are independent. Returns the logits (n,) of the probability
    that at least one of the boxes contains the face. `iou` (n, m) is the overlap with all m boxes,
    and `logits` (m,) are their face logits. The probability that no box contains the face is
    exp(-S), where S is the sum of ln(1 + exp(logit)).

    The combination is needed because training selects one cell per face as positive. If several
    cells fit equally well, as for small faces, each of them gets a low logit.
    """
    same_face = (iou >= SAME_FACE_IOU).astype(np.float64)
    total = same_face @ np.logaddexp(0, logits.astype(np.float64))
    return np.asarray(total + np.log1p(-np.exp(-total)), dtype=np.float32)


def iou_matrix(boxes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the IoU (n, m) of boxes xyxy (n, 4) and (m, 4)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas, other_areas = (np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (boxes, others))
    return np.asarray(shared / (areas[:, None] + other_areas - shared + 1e-9), dtype=np.float32)


def non_max_suppression(
    boxes: NDArray[np.float32], logits: NDArray[np.float32], nms_iou: float
) -> NDArray[np.intp]:
    """Apply greedy non-maximum suppression to `boxes` xyxy (n, 4). Returns the indices of the
    remaining boxes, in descending order of the logit."""
    sizes = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    ranks = logits - logits.min(initial=0) + 1  # OpenCV keeps only scores above 0
    return np.array(cv2.dnn.NMSBoxes(sizes.tolist(), ranks.tolist(), 0.0, nms_iou), dtype=np.intp)
