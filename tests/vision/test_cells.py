"""Cells, boxes and non-maximum suppression, compared with values computed by hand."""

import numpy as np
import pytest

from app.vision.cells import (
    MAX_CANDIDATES,
    MAX_LOG_SIZE,
    combined_logits,
    decode,
    find,
    grid,
    iou_matrix,
)

NO_FACE_LOGIT = -20.0


def make_outputs(side, **cells):
    """Outputs without faces, except for `c<index>=(t_x, t_y, t_w, t_h, objectness, …)`."""
    outputs = np.zeros((len(grid(side)[0]), 7), np.float32)
    outputs[:, 4] = NO_FACE_LOGIT
    for index, values in cells.items():
        outputs[int(index[1:]), : len(values)] = values
    return outputs


def test_grid_is_ordered_by_stride_and_row_by_row():
    centres, strides = grid(64)
    assert len(centres) == 8 * 8 + 4 * 4 + 2 * 2
    assert centres[[0, 1, 8]].tolist() == [[4, 4], [12, 4], [4, 12]]
    assert centres[[64, 65, 68]].tolist() == [[8, 8], [24, 8], [8, 24]]
    assert centres[[80, 81, 83]].tolist() == [[16, 16], [48, 16], [48, 48]]
    assert strides[[0, 63, 64, 79, 80, 83], 0].tolist() == [8, 8, 16, 16, 32, 32]


def test_decode_moves_the_centre_by_strides_and_scales_the_sides_exponentially():
    centres, strides = np.array([[24, 40]], np.float32), np.array([[16]], np.float32)
    t = np.array([[0.5, -0.25, np.log(2), np.log(3)]], np.float32)
    # Centre 24 + .5 · 16 = 32, 40 - .25 · 16 = 36; sides 2 · 16 and 3 · 16.
    assert decode(t, centres, strides)[0] == pytest.approx([16, 12, 48, 60])


def test_decode_does_not_overflow():
    one = np.ones((1, 2), np.float32)
    box = decode(np.array([[0, 0, 1e9, 88]], np.float32), one, one[:, :1])
    assert np.isfinite(box).all()
    assert box[0, 2] == pytest.approx(1 + np.exp(MAX_LOG_SIZE) / 2)


def test_best_of_overlapping_boxes_remains_with_the_combined_logit():
    # Cells 64 and 65 of 16 pixels, with boxes at the same place; cell 79 is elsewhere.
    outputs = make_outputs(
        64,
        c64=(1, 0, 0.5, 0.5, 1.0, 1, 0),
        c65=(0, 0, 0.5, 0.5, 2.0, 0, 1),
        c79=(0, 0, 0, 0, 0.5, 3, 4),
    )
    boxes, logits, classes = find(outputs, 64, min_logit=0.0, nms_iou=0.45)
    # Noisy OR of the logits 1 and 2: the odds that at least one box is right are
    # (1 + e)(1 + e²) - 1 to 1.
    assert logits == pytest.approx([np.log((1 + np.e) * (1 + np.e**2) - 1), 0.5], abs=1e-5)
    half = 8 * np.exp(0.5)
    assert boxes[0] == pytest.approx([24 - half, 8 - half, 24 + half, 8 + half])
    assert boxes[1] == pytest.approx([48, 48, 64, 64])
    assert classes.tolist() == [[0, 1], [3, 4]]


def test_boxes_that_overlap_less_than_the_limit_remain():
    # Two squares of 16 pixels, 8 pixels apart: IoU 1/3.
    outputs = make_outputs(64, c64=(0, 0, 0, 0, 1.0), c65=(-0.5, 0, 0, 0, 2.0))
    assert len(find(outputs, 64, min_logit=0.0, nms_iou=0.34)[0]) == 2
    assert len(find(outputs, 64, min_logit=0.0, nms_iou=0.32)[0]) == 1


def test_combined_logits_combine_boxes_of_the_same_face_only():
    iou = np.array([[1.0, 0.61, 0.59], [0.59, 0.2, 1.0]], np.float32)
    logits = np.array([0.0, 0.0, -1.0], np.float32)
    # Two boxes with probability 1/2 are both wrong with probability 1/4.
    assert combined_logits(iou, logits) == pytest.approx([np.log(3), -1.0], abs=1e-6)


def test_combined_logits_of_many_large_logits_are_finite():
    assert combined_logits(np.ones((1, 1000), np.float32), np.full(1000, 50, np.float32)) == [
        50_000
    ]
    assert combined_logits(np.ones((0, 0), np.float32), np.zeros(0, np.float32)).shape == (0,)


def test_overlaps_are_intersection_over_union():
    boxes = np.array([[0, 0, 10, 10], [50, 50, 50, 60]], np.float32)
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    expected = [[1, 1 / 3, 0], [0, 0, 0]]
    assert iou_matrix(boxes, others) == pytest.approx(np.array(expected), abs=1e-6)


def test_face_with_several_weak_cells_is_found():
    outputs = make_outputs(64, c64=(0.5, 0, 0, 0, -0.5), c65=(-0.5, 0, 0, 0, -0.5))
    (logit,) = find(outputs, 64, min_logit=0.0, nms_iou=0.45)[1]
    assert 0 < logit < 1
    assert len(find(outputs[:, :6], 64, min_logit=1.0, nms_iou=0.45)[1]) == 0


@pytest.mark.parametrize(("min_logit", "count"), [(-1.0, 2), (-0.5, 2), (-0.4, 1), (1.1, 0)])
def test_boxes_below_min_logit_are_removed(min_logit, count):
    outputs = make_outputs(64, c64=(0, 0, 0, 0, 1.0), c79=(0, 0, 0, 0, -0.5))
    boxes, logits, classes = find(outputs, 64, min_logit=min_logit, nms_iou=0.45)
    assert (boxes.shape, logits.shape, classes.shape) == ((count, 4), (count,), (count, 2))


def test_only_the_best_candidates_are_used_if_there_are_too_many():
    outputs = np.zeros((len(grid(640)[0]), 7), np.float32)
    outputs[:, 2:4] = -1  # small boxes that do not overlap
    outputs[:, 4] = np.linspace(1, 2, len(outputs))
    _, logits, _ = find(outputs, 640, min_logit=0.0, nms_iou=0.45)
    assert len(logits) == MAX_CANDIDATES
    assert logits.min() >= np.sort(outputs[:, 4])[-MAX_CANDIDATES]
