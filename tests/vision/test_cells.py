"""Cells, boxes and non-maximum suppression, by hand."""

import numpy as np
import pytest

from app.vision.cells import (
    MAX_CANDIDATES,
    MAX_LOG_SIZE,
    decode,
    find,
    grid,
    overlaps,
    votes,
)

NOTHING = -20.0


def answers(side, **cells):
    """Nobody anywhere, but `index=(t_x, t_y, t_w, t_h, objectness, …)` in those cells."""
    made = np.zeros((len(grid(side)[0]), 7), np.float32)
    made[:, 4] = NOTHING
    for index, values in cells.items():
        made[int(index[1:]), : len(values)] = values
    return made


def test_cells_lie_row_by_row_the_finest_first():
    centres, strides = grid(64)
    assert len(centres) == 8 * 8 + 4 * 4 + 2 * 2
    assert centres[[0, 1, 8]].tolist() == [[4, 4], [12, 4], [4, 12]]
    assert centres[[64, 65, 68]].tolist() == [[8, 8], [24, 8], [8, 24]]
    assert centres[[80, 81, 83]].tolist() == [[16, 16], [48, 16], [48, 48]]
    assert strides[[0, 63, 64, 79, 80, 83], 0].tolist() == [8, 8, 16, 16, 32, 32]


def test_a_box_is_moved_by_strides_and_grows_by_powers_of_e():
    centres, strides = np.array([[24, 40]], np.float32), np.array([[16]], np.float32)
    t = np.array([[0.5, -0.25, np.log(2), np.log(3)]], np.float32)
    # Centre 24 + .5 · 16 = 32, 40 - .25 · 16 = 36; sides 2 · 16 and 3 · 16.
    assert decode(t, centres, strides)[0] == pytest.approx([16, 12, 48, 60])


def test_no_side_overflows():
    one = np.ones((1, 2), np.float32)
    box = decode(np.array([[0, 0, 1e9, 88]], np.float32), one, one[:, :1])
    assert np.isfinite(box).all()
    assert box[0, 2] == pytest.approx(1 + np.exp(MAX_LOG_SIZE) / 2)


def test_of_boxes_that_overlap_the_surest_remains():
    # Cells 64 and 65 of 16 pixels, moved onto each other; cell 79 lies elsewhere.
    made = answers(
        64,
        c64=(1, 0, 0.5, 0.5, 1.0, 1, 0),
        c65=(0, 0, 0.5, 0.5, 2.0, 0, 1),
        c79=(0, 0, 0, 0, 0.5, 3, 4),
    )
    boxes, logits, names = find(made, 64, min_logit=0.0, nms_iou=0.45)
    # The other votes for it: of both being wrong the odds are 1 to (1 + e)(1 + e²) - 1.
    assert logits == pytest.approx([np.log((1 + np.e) * (1 + np.e**2) - 1), 0.5], abs=1e-5)
    half = 8 * np.exp(0.5)
    assert boxes[0] == pytest.approx([24 - half, 8 - half, 24 + half, 8 + half])
    assert boxes[1] == pytest.approx([48, 48, 64, 64])
    assert names.tolist() == [[0, 1], [3, 4]]


def test_boxes_that_overlap_less_both_remain():
    # Two squares of 16 pixels, 8 apart: IoU 1/3.
    made = answers(64, c64=(0, 0, 0, 0, 1.0), c65=(-0.5, 0, 0, 0, 2.0))
    assert len(find(made, 64, min_logit=0.0, nms_iou=0.34)[0]) == 2
    assert len(find(made, 64, min_logit=0.0, nms_iou=0.32)[0]) == 1


def test_only_boxes_of_the_same_face_vote():
    iou = np.array([[1.0, 0.61, 0.59], [0.59, 0.2, 1.0]], np.float32)
    logits = np.array([0.0, 0.0, -1.0], np.float32)
    # Two that are right with 1/2 each are both wrong with 1/4.
    assert votes(iou, logits) == pytest.approx([np.log(3), -1.0], abs=1e-6)


def test_many_votes_that_are_sure_stay_finite():
    assert votes(np.ones((1, 1000), np.float32), np.full(1000, 50, np.float32)) == [50_000]
    assert votes(np.ones((0, 0), np.float32), np.zeros(0, np.float32)).shape == (0,)


def test_overlaps_are_shared_over_united_area():
    boxes = np.array([[0, 0, 10, 10], [50, 50, 50, 60]], np.float32)
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    expected = [[1, 1 / 3, 0], [0, 0, 0]]
    assert overlaps(boxes, others) == pytest.approx(np.array(expected), abs=1e-6)


def test_a_face_that_several_cells_half_see_is_found():
    made = answers(64, c64=(0.5, 0, 0, 0, -0.5), c65=(-0.5, 0, 0, 0, -0.5))
    (logit,) = find(made, 64, min_logit=0.0, nms_iou=0.45)[1]
    assert 0 < logit < 1
    assert len(find(made[:, :6], 64, min_logit=1.0, nms_iou=0.45)[1]) == 0


@pytest.mark.parametrize(("min_logit", "count"), [(-1.0, 2), (-0.5, 2), (-0.4, 1), (1.1, 0)])
def test_only_cells_that_are_sure_enough_are_looked_at(min_logit, count):
    made = answers(64, c64=(0, 0, 0, 0, 1.0), c79=(0, 0, 0, 0, -0.5))
    boxes, logits, names = find(made, 64, min_logit=min_logit, nms_iou=0.45)
    assert (boxes.shape, logits.shape, names.shape) == ((count, 4), (count,), (count, 2))


def test_thousands_of_candidates_are_cut_to_the_surest():
    made = np.zeros((len(grid(640)[0]), 7), np.float32)
    made[:, 2:4] = -1  # small boxes: none hides another
    made[:, 4] = np.linspace(1, 2, len(made))
    _, logits, _ = find(made, 640, min_logit=0.0, nms_iou=0.45)
    assert len(logits) == MAX_CANDIDATES
    assert logits.min() >= np.sort(made[:, 4])[-MAX_CANDIDATES]
