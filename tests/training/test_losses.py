"""Losses of single-shot networks, compared with manual results."""

import importlib.util
import math
from dataclasses import replace

import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")

import torch

from tests.training.grid_64 import (
    CELLS,
    FACE,
    SIDE,
    assigned,
    boxes,
    exact,
    ground_truth,
    outputs_for,
)
from training.detection.assignment import candidates_of
from training.detection.losses import GroundTruth, eiou_loss, losses


def test_eiou_loss_of_known_boxes():
    truth = boxes([0, 0, 10, 10])
    assert eiou_loss(truth, truth).item() == pytest.approx(0)
    # The same centre and half the width: IoU 1/2, Δw² / c_w² = 25 / 100.
    assert eiou_loss(boxes([2.5, 0, 7.5, 10]), truth).item() == pytest.approx(0.5 + 0.25)
    # Moved by 10: no overlap, d²/c² = 100 / (20² + 10²).
    assert eiou_loss(boxes([10, 0, 20, 10]), truth).item() == pytest.approx(1 + 0.2)


def test_eiou_loss_has_a_gradient_without_overlap():
    box = boxes([40, 40, 50, 50]).requires_grad_()
    eiou_loss(box, boxes([0, 0, 10, 10])).sum().backward()
    assert box.grad.sum() > 0  # nearer to the face is better


def test_loss_of_a_correct_net_is_nearly_zero():
    outputs = outputs_for(FACE)
    truth = ground_truth(boxes(FACE), targets=torch.eye(8)[:1])
    learns = assigned(exact(FACE), boxes(FACE), objectness=torch.full((84,), -20.0)) == 0
    outputs[0, learns, 4] = 20
    outputs[0, :, 5] = 20
    found = losses(outputs, truth, SIDE)
    assert found.total(1.0).item() == pytest.approx(0, abs=1e-4)


def test_objectness_loss_is_divided_by_the_number_of_assigned_cells():
    half = outputs_for(FACE, logit=0.0)
    # With an IoU of 1/4, two cells are assigned, and the others match no face.
    half[..., 2:4] -= math.log(2)
    found = losses(half, ground_truth(boxes(FACE)), SIDE)
    assert found.objectness.item() == pytest.approx(84 * math.log(2) / 2)


def test_matching_cells_that_are_not_assigned_have_no_objectness_loss():
    found = losses(outputs_for(FACE, logit=0.0), ground_truth(boxes(FACE)), SIDE)
    assert found.objectness.item() == pytest.approx(10 * math.log(2) / 10)
    # A face that is padding does not exclude matching cells from the loss.
    far = boxes((0, 0, 16, 16), FACE)
    truth = ground_truth(far)
    found = losses(
        outputs_for(FACE, logit=0.0), replace(truth, valid=truth.valid & boxes([1, 0]).bool()), SIDE
    )
    assert found.objectness.item() == pytest.approx(84 * math.log(2))


def test_cells_around_an_unsure_face_have_no_objectness_loss():
    doubtful = ground_truth(boxes(FACE), sure=[False])
    near = candidates_of(doubtful.boxes, doubtful.valid, CELLS)[0]
    outputs = outputs_for(FACE, logit=0.0)
    found = losses(outputs, doubtful, SIDE)
    assert found.objectness.item() == pytest.approx(int((~near).sum()) * math.log(2), rel=1e-5)
    assert found.box.item() == 0


def test_expression_loss_is_the_cross_entropy_with_soft_targets():
    target = torch.tensor([[0.75, 0.25, 0, 0, 0, 0, 0, 0]])
    names = torch.tensor([2.0, 0, 0, 0, 0, 0, 0, 0])
    found = losses(outputs_for(FACE, names=names), ground_truth(boxes(FACE), targets=target), SIDE)
    log_sum = math.log(math.exp(2) + 7)
    assert found.expression.item() == pytest.approx(0.75 * (log_sum - 2) + 0.25 * log_sum)


def test_unknown_expression_has_no_loss():
    two = boxes(FACE, (0.0, 0.0, 10.0, 10.0))
    targets = torch.stack([torch.eye(8)[1], torch.zeros(8)])
    names = torch.arange(8.0)
    one = losses(outputs_for(FACE, names=names), ground_truth(two[:1], targets=targets[:1]), SIDE)
    both = losses(outputs_for(FACE, names=names), ground_truth(two, targets=targets), SIDE)
    assert both.expression.item() == pytest.approx(one.expression.item(), rel=1e-5)


def test_scene_without_faces_has_gradients():
    outputs = torch.zeros(2, 84, 13).requires_grad_()
    no_faces = GroundTruth(
        torch.zeros(2, 1, 4),
        torch.zeros(2, 1, dtype=torch.bool),
        torch.zeros(2, 1, dtype=torch.bool),
        torch.zeros(2, 1, 8),
    )
    losses(outputs, no_faces, SIDE).total(1.0).backward()
    assert torch.isfinite(outputs.grad).all()
    assert (outputs.grad[..., 4] > 0).all()
    assert (outputs.grad[..., :4] == 0).all()
