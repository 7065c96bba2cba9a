"""Decoding of boxes and assignment of cells, compared with manual results."""

import importlib.util
import math

import numpy as np
import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

import torch

from app.vision import cells
from tests.training.grid_64 import (
    CELLS,
    SIDE,
    assigned,
    boxes,
    exact,
)
from training.detection.assignment import UNASSIGNED, candidates_of
from training.detection.boxes import decode, pairwise_iou


def test_decode_equals_the_decoder_of_the_service():
    outputs = np.random.default_rng(0).normal(size=(84, 4)).astype(np.float32)
    served = cells.decode(outputs, *cells.grid(SIDE))
    assert np.allclose(decode(torch.from_numpy(outputs), CELLS).numpy(), served, atol=1e-4)


def test_pairwise_iou_of_known_boxes():
    first = boxes([0, 0, 10, 10], [0, 0, 0, 0])
    second = boxes([0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [2, 2, 7, 7])
    expected = [[1, 50 / 150, 0, 25 / 100], [0, 0, 0, 0]]
    assert torch.allclose(pairwise_iou(first, second), torch.tensor(expected))


def test_number_of_cells_of_a_face_is_the_sum_of_its_ten_best_ious():
    face = (16.0, 16.0, 48.0, 48.0)
    everywhere = exact(face)
    # All candidates are exact: ten IoUs of 1.
    assert int((assigned(everywhere, boxes(face)) == 0).sum()) == 10
    # Boxes of half the side in the same place have an IoU of 1/4: 2.5 rounded down.
    half = everywhere.clone()
    half[:, 2:] -= math.log(2)
    assert int((assigned(half, boxes(face)) == 0).sum()) == 2
    # Without any overlap, one cell is still assigned.
    far = everywhere.clone()
    far[:, :2] += 100
    assert int((assigned(far, boxes(face)) == 0).sum()) == 1


def test_cells_lie_in_the_face_and_near_its_centre():
    face = (20.0, 20.0, 28.0, 28.0)
    chosen = (assigned(exact(face), boxes(face)) == 0).nonzero()[:, 0]
    # Cell centres on the edge, at 20 and 28, are not inside.
    inside = [
        index for index, (x, y) in enumerate(CELLS.centres.tolist()) if 20 < x < 28 and 20 < y < 28
    ]
    assert inside == [69]
    assert 69 in chosen.tolist()
    # Other assigned cells are less than 2.5 strides away.
    away = (CELLS.centres[chosen] - 24).abs().amax(dim=1)
    assert (away < 2.5 * CELLS.strides[chosen, 0]).all()


def test_cells_with_the_lowest_cost_are_assigned():
    face = (0.0, 0.0, 64.0, 64.0)
    outputs = exact(face)
    outputs[:, 2:] -= 3  # an IoU of about 0, for all
    outputs[70] = exact(face)[70]
    sure = torch.zeros(len(outputs))
    chosen = assigned(outputs, boxes(face), objectness=sure)
    assert (chosen == 0).nonzero().tolist() == [[70]]  # its box matches best
    same = exact(face)
    same[:, 2:] -= 3
    sure[75] = 4
    chosen = assigned(same, boxes(face), objectness=sure)
    assert (chosen == 0).nonzero().tolist() == [[75]]  # its score is the highest


def test_contested_cell_is_assigned_to_the_best_matching_face():
    large, small = (0.0, 0.0, 64.0, 64.0), (16.0, 16.0, 48.0, 48.0)
    chosen = assigned(exact(small), boxes(large, small))
    assert int((chosen == 1).sum()) == 10
    # The large face has an IoU of 1/4 everywhere, so at most two other cells are assigned to it.
    assert int((chosen == 0).sum()) <= 2


def test_padding_is_not_assigned():
    face = (16.0, 16.0, 48.0, 48.0)
    chosen = assigned(exact(face), boxes(face, face), real=[False, False])
    assert (chosen == UNASSIGNED).all()
    chosen = assigned(exact(face), boxes((0, 0, 0, 0), face), real=[False, True])
    assert set(chosen.tolist()) == {UNASSIGNED, 1}


def test_candidates_of_returns_the_candidate_cells_of_a_face():
    near = candidates_of(boxes((60, 60, 64, 64))[None], torch.ones(1, 1, dtype=torch.bool), CELLS)[
        0
    ]
    assert near[63]  # the last of 8 pixels
    assert near[83]  # the last of 32
    assert not near[0]
    assert not near[:32].any()  # the upper half, in the finest grid
    assert not candidates_of(boxes((0, 0, 64, 64))[None], torch.zeros(1, 1).bool(), CELLS).any()
