"""Decodes the output of YOLOv3 and YOLOv3-tiny into boxes (Redmon & Farhadi 2018, arXiv 1804.02767,
section 2.1). Also works with weights that were trained with Darknet."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from app.vision.cells import MAX_LOG_SIZE, BoxArrays, candidates, non_max_suppression

# Corners, strides and anchors: see `_anchor_grid`.
_Grid = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Scale:
    """The cells of one stride. `anchors` are widths and heights in pixels of the square image."""

    stride: int
    anchors: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Yolov3Decoder:
    """Decodes outputs (rows, 5 + classes) for one square image.

    A row contains t_x, t_y, t_w, t_h, the objectness logit and the class logits, as the last
    convolution returns them. Rows are ordered by scale as in `scales`, then row by row over the
    cells of the scale, then by anchor as in `anchors`. training.nets.yolov3_tiny has this layout.

    Set `logistic_classes` for a network that was trained with one sigmoid per class, as in Darknet.
    The distribution over exclusive classes is then the vector of sigmoids divided by its sum.
    """

    scales: tuple[Scale, ...]
    logistic_classes: bool

    def rows(self, side: int) -> int:
        """Return the number of rows for a square of `side` pixels."""
        return sum((side // each.stride) ** 2 * len(each.anchors) for each in self.scales)

    def decode(self, outputs: NDArray[np.float32], side: int) -> NDArray[np.float32]:
        """Return boxes xyxy (rows, 4) in pixels of the square. The centre is the corner of the cell
        plus sigmoid(t_xy) strides. The sides are exp(t_wh) times the sides of the anchor."""
        return _boxes(outputs, _anchor_grid(self.scales, side))

    def find(
        self, outputs: NDArray[np.float32], side: int, *, min_logit: float, nms_iou: float
    ) -> BoxArrays:
        """Decode outputs like app.vision.cells.find, but without combining overlapping boxes.

        The training of YOLOv3 uses one row per face and ignores other rows whose boxes overlap the
        face, so the logits of these rows have no meaning.
        """
        chosen = candidates(outputs, min_logit)
        rows = outputs[chosen]
        corners, strides, anchors = _anchor_grid(self.scales, side)
        boxes = _boxes(rows, (corners[chosen], strides[chosen], anchors[chosen]))
        remaining = non_max_suppression(boxes, rows[:, 4], nms_iou)
        return boxes[remaining], rows[remaining, 4], rows[remaining, 5:]

    def exclusive_logits(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convert class logits (n, classes) to logits whose softmax is the distribution over
        exclusive classes."""
        if not self.logistic_classes:
            return logits
        return np.asarray(-np.logaddexp(0, -logits), dtype=np.float32)


@lru_cache(maxsize=8)
def _anchor_grid(scales: tuple[Scale, ...], side: int) -> _Grid:
    """Return the corners (rows, 2) of the cells in units of the stride, the strides (rows, 1), and
    the anchors (rows, 2)."""
    corners, strides, anchors = [], [], []
    for scale in scales:
        count = len(scale.anchors)
        steps = np.arange(side // scale.stride, dtype=np.float32)
        columns, lines = np.meshgrid(steps, steps)
        cells = np.stack([columns.ravel(), lines.ravel()], axis=1)
        corners.append(np.repeat(cells, count, axis=0))
        strides.append(np.full((len(cells) * count, 1), scale.stride, np.float32))
        anchors.append(np.tile(np.array(scale.anchors, np.float32), (len(cells), 1)))
    return np.concatenate(corners), np.concatenate(strides), np.concatenate(anchors)


def _boxes(outputs: NDArray[np.float32], grid: _Grid) -> NDArray[np.float32]:
    corners, strides, anchors = grid
    sigmoid = 0.5 + np.tanh(outputs[:, :2] / 2) / 2  # exp would overflow
    centres = (corners + sigmoid) * strides
    half = np.exp(np.minimum(outputs[:, 2:4], MAX_LOG_SIZE)) * anchors / 2
    return np.concatenate([centres - half, centres + half], axis=1)
