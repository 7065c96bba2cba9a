"""Boxes, assignment and losses of YOLOv3-tiny, compared with manual results."""

import importlib.util
import math

import numpy as np
import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

import torch

from app.vision.cells import MAX_CANDIDATES, MAX_LOG_SIZE
from tests.training.yolo_rows import (
    BOX,
    CENTRE,
    COARSE_ROWS,
    LEFT_ROW,
    LN2,
    LN3,
    ROW,
    ROWS,
    SIDE,
    face_at,
    shifted,
    truth_of,
)
from training.detection.assignment import UNASSIGNED
from training.detection.yolo import ANCHORS, assign, decode, find, losses


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


pytestmark = pytest.mark.torch


def test_anchors_are_in_pixels_and_match_faces():
    """The faces are 12 to 300 pixels high and .84 times as wide.

    Anchors in units of cells would overlap a face of 100 pixels by less than .01.
    """
    heights = np.geomspace(12, 300, 100)
    sizes = np.stack([0.84 * heights, heights], axis=1)[:, None]
    anchors = np.concatenate(ANCHORS)
    overlap = np.minimum(sizes, anchors).prod(axis=2)
    iou = overlap / (sizes.prod(axis=2) + anchors.prod(axis=1) - overlap)
    assert iou.max(axis=1).min() > 0.4
    assert iou.max(axis=1).mean() > 0.7
    assert (anchors[:, 0] < anchors[:, 1]).all()
    areas = anchors.prod(axis=1)
    assert areas[:3].min() > areas[3:].max()  # coarse cells have larger anchors


def test_decode_computes_boxes_from_cell_and_anchor():
    outputs = torch.zeros(ROWS, 13)
    outputs[:, 4:] = 7  # objectness and classes do not affect the box
    boxes = decode(outputs, SIDE)
    assert boxes[ROW].tolist() == list(BOX)
    assert boxes[5].tolist() == [48 - 106, 16 - 124.5, 48 + 106, 16 + 124.5]
    outputs[ROW, :4] = torch.tensor([LN3, -LN3, LN2, -LN2])  # sigmoids .75 and .25
    assert decode(outputs, SIDE)[ROW].tolist() == pytest.approx(face_at(60, 36, 60, 18))
    outputs[ROW, :4] = torch.tensor([-100.0, 100.0, 1000.0, -1000.0])
    width = 30 * math.exp(MAX_LOG_SIZE)
    expected = face_at(48, 48, width, 0)
    assert decode(outputs, SIDE)[ROW].tolist() == pytest.approx(expected, rel=1e-5)


def learned(*faces, real=None):
    """Return the assigned rows at 416 pixels, with the numbers of their faces."""
    real = torch.tensor([[True] * len(faces) if real is None else real])
    face = assign(torch.tensor([faces]), real, 416)[0]
    return {int(row): int(face[row]) for row in (face != UNASSIGNED).nonzero()}


def fine(line, column, anchor):
    return 13 * 13 * 3 + (line * 26 + column) * 3 + anchor


def test_face_is_assigned_to_the_best_anchor_of_its_cell():
    assert learned(face_at(100, 200, 91, 109)) == {(6 * 13 + 3) * 3: 0}
    assert learned(face_at(300, 50, 30, 36)) == {fine(3, 18, 1): 0}
    assert learned(face_at(300, 50, 300, 300)) == {(1 * 13 + 9) * 3 + 2: 0}
    # 24×28: 15×18 overlaps it by 270/672 = .40, 30×36 by 672/1080 = .62
    assert learned(face_at(300, 50, 24, 28)) == {fine(3, 18, 1): 0}
    # 20×24: 15×18 by 270/480 = .56, 30×36 by 480/1080 = .44
    assert learned(face_at(300, 50, 20, 24)) == {fine(3, 18, 0): 0}


def test_best_matching_face_of_a_cell_is_assigned_to_its_anchor():
    large, small = face_at(300, 50, 30, 36), face_at(300, 50, 15, 18)
    assert learned(large, small) == {fine(3, 18, 1): 0, fine(3, 18, 0): 1}
    worse = face_at(301, 51, 28, 34)
    assert learned(large, worse) == {fine(3, 18, 1): 0}
    assert learned(worse, large) == {fine(3, 18, 1): 1}


def test_padding_is_not_assigned():
    faces = face_at(300, 50, 30, 36), face_at(100, 50, 30, 36)
    assert learned(*faces, real=[False, True]) == {fine(3, 6, 1): 1}
    assert learned(*faces, real=[False, False]) == {}


def test_centre_on_the_edge_belongs_to_the_last_cell():
    assert learned(face_at(416, 416, 30, 36)) == {fine(25, 25, 1): 0}
    assert learned(face_at(0, 416, 30, 36)) == {fine(25, 0, 1): 0}


def test_images_of_a_batch_are_assigned_separately():
    faces = torch.tensor([[face_at(*CENTRE, 30, 36)], [face_at(8, 8, 30, 36)]])
    face = assign(faces, torch.tensor([[True], [True]]), SIDE)
    assert [tuple(each) for each in (face != UNASSIGNED).nonzero().tolist()] == [
        (0, ROW),
        (1, COARSE_ROWS + 1),
    ]


def test_correct_box_has_no_loss_and_overlapping_rows_are_ignored():
    result = losses(shifted(), truth_of(BOX), SIDE)
    assert result.box.item() == pytest.approx(0, abs=1e-6)
    assert result.objectness.item() == pytest.approx(59 * LN2)  # all but LEFT_ROW
    assert result.expression.item() == 0
    plain = losses(torch.zeros(1, ROWS, 7), truth_of(BOX), SIDE)
    assert plain.objectness.item() == pytest.approx(60 * LN2)


def test_objectness_gradient_raises_faces_and_lowers_other_rows():
    outputs = shifted()
    outputs[0, :, 4] = -3
    outputs[0, ROW, 4] = 2
    outputs.requires_grad_()
    result = losses(outputs, truth_of(BOX), SIDE)
    expected = 58 * math.log(1 + math.exp(-3)) + math.log(1 + math.exp(-2))
    assert result.objectness.item() == pytest.approx(expected)
    result.objectness.backward()
    gradient = outputs.grad[0, :, 4]
    assert gradient[ROW] < 0
    assert gradient[LEFT_ROW] == 0
    assert (gradient > 0).sum() == 58


def test_assigned_row_is_not_ignored_because_of_another_face():
    """The second face also overlaps the box of ROW by 22·36 / (2·30·36 - 22·36)."""
    result = losses(torch.zeros(1, ROWS, 7), truth_of(BOX, face_at(47.9, 40, 30, 36)), SIDE)
    assert result.objectness.item() == pytest.approx(60 * LN2 / 2)


def test_box_loss_is_the_mean_eiou_of_assigned_rows():
    """The box of ROW lies 4 pixels right of its face. The row of the other face is correct.

    Box and face share 26×36 pixels, and the box around both has 34×36.
    """
    outputs = torch.zeros(1, ROWS, 7)
    outputs[0, ROW, 0] = LN3
    eiou = 1 - 936 / (2 * 1080 - 936) + 16 / (34**2 + 36**2)
    result = losses(outputs, truth_of(BOX, face_at(8, 8, 15, 18)), SIDE)
    assert result.box.item() == pytest.approx(eiou / 2, rel=1e-4)
    assert losses(outputs, truth_of(BOX), SIDE).box.item() == pytest.approx(eiou, rel=1e-4)


def test_expression_loss_is_the_cross_entropy_of_known_expressions():
    outputs = torch.zeros(1, ROWS, 7)
    outputs[0, :, 5] = 50  # rows without a face have no expression loss
    outputs[0, ROW, 5:] = torch.tensor([LN3, 0])  # .75 and .25
    targets = torch.tensor([[[0.4, 0.6], [0.0, 0.0], [1.0, 0.0]]])  # the last row is padding
    result = losses(outputs, truth_of(BOX, face_at(8, 8, 15, 18), targets=targets), SIDE)
    assert result.expression.item() == pytest.approx(-0.4 * math.log(0.75) - 0.6 * math.log(0.25))


def test_unsure_face_has_no_loss():
    """Neither the row of the face nor a row with an overlapping box has a loss."""
    outputs = shifted()
    outputs[0, [ROW, LEFT_ROW], 4] = 8
    outputs.requires_grad_()
    targets = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    result = losses(outputs, truth_of(BOX, sure=False, targets=targets), SIDE)
    assert result.objectness.item() == pytest.approx(58 * LN2)
    assert result.box.item() == result.expression.item() == 0
    result.total(1.0).backward()
    assert not outputs.grad[0, [ROW, LEFT_ROW]].any()


def test_unsure_face_without_overlapping_box_has_no_loss_in_its_row():
    outputs = torch.zeros(1, ROWS, 7)
    outputs[0, COARSE_ROWS, 4] = 8
    result = losses(outputs, truth_of(face_at(8, 8, 8, 8), sure=False), SIDE)
    assert result.objectness.item() == pytest.approx(59 * LN2)


def test_assigned_row_is_not_ignored_because_of_an_unsure_face():
    result = losses(torch.zeros(1, ROWS, 7), truth_of(BOX, BOX, sure=[True, False, False]), SIDE)
    assert result.objectness.item() == pytest.approx(60 * LN2)


def outputs_with(**logits):
    """Return outputs with `right` (BOX), `left` (8 pixels beside it) and `corner` (15×18)."""
    outputs = np.zeros((ROWS, 5 + 2), np.float32)
    outputs[:, 4] = -9
    outputs[LEFT_ROW, 0] = 100
    for row, name in ((ROW, "right"), (LEFT_ROW, "left"), (COARSE_ROWS, "corner")):
        outputs[row, 4] = logits.get(name, -9)
        outputs[row, 5:] = row, -row
    return outputs


def test_find_returns_boxes_logits_and_classes_in_descending_order():
    outputs = outputs_with(right=2.0, left=1.0, corner=3.0)
    boxes, logits, names = find(outputs, SIDE, min_logit=-3.0, nms_iou=0.45)
    assert np.allclose(boxes, [face_at(8, 8, 15, 18), BOX])
    assert logits.tolist() == [3, 2]
    assert names.tolist() == [[COARSE_ROWS, -COARSE_ROWS], [ROW, -ROW]]
    boxes, logits, names = find(outputs, SIDE, min_logit=-3.0, nms_iou=0.6)
    assert logits.tolist() == [3, 2, 1]
    assert np.allclose(boxes[2], face_at(48, 40, 30, 36))
    assert boxes.dtype == logits.dtype == names.dtype == np.float32


def test_find_returns_only_rows_with_at_least_min_logit():
    outputs = outputs_with(right=-3.0, corner=-3.1)
    boxes, logits, _ = find(outputs, SIDE, min_logit=-3.0, nms_iou=0.45)
    assert np.allclose(boxes, [BOX])
    assert logits.tolist() == [-3]


def test_find_returns_empty_arrays_without_detections():
    boxes, logits, names = find(outputs_with(), SIDE, min_logit=-3.0, nms_iou=0.45)
    assert (boxes.shape, logits.shape, names.shape) == ((0, 4), (0,), (0, 2))


def test_find_keeps_the_candidates_with_the_highest_scores():
    outputs = np.zeros((2535, 7), np.float32)
    outputs[:, 4] = np.arange(2535) / 1000
    _, logits, _ = find(outputs, 416, min_logit=0.0, nms_iou=1.0)
    assert len(logits) == MAX_CANDIDATES
    assert np.allclose(logits, outputs[::-1, 4][:MAX_CANDIDATES])
