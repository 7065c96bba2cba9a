"""Counting boxes, by hand."""

import numpy as np
import pytest

from app.vision.types import Box, Detection
from evaluation.boxes import score_boxes
from evaluation.metrics import bootstrap_ratios
from testbed.boxes import average_precision, tally
from training.data.photos import MarkedFace

FACE = Box(0, 0, 10, 10)
OTHER = Box(100, 0, 110, 10)
NOTHING = Box(50, 50, 60, 60)


def faces(*boxes, **options):
    return [MarkedFace(box, **options) for box in boxes]


def test_each_face_is_found_once_and_by_the_surest():
    detections = [Detection(FACE, 0.4), Detection(Box(1, 0, 11, 10), 0.9), Detection(NOTHING, 0.6)]
    made = tally(detections, faces(FACE, OTHER), min_iou=0.5)
    assert made.hits.tolist() == [True, False, False]
    assert made.scores.tolist() == [0.9, 0.6, 0.4]
    assert made.found.tolist() == [True, False]


@pytest.mark.parametrize(("min_iou", "hit"), [(0.5, True), (0.51, False)])
def test_the_overlap_must_suffice(min_iou, hit):
    half = Box(0, 0, 10, 5)
    made = tally([Detection(half)], faces(FACE), min_iou=min_iou)
    assert made.hits.tolist() == [hit]


def test_faces_that_do_not_count_take_detections_without_notice():
    unsure = faces(OTHER, sure=False)
    made = tally([Detection(OTHER), Detection(OTHER), Detection(NOTHING)], unsure, min_iou=0.5)
    assert made.hits.tolist() == [False]
    assert made.found.size == 0
    masked = MarkedFace(FACE, condition="masked")
    made = tally([Detection(FACE)], [masked], min_iou=0.5, counts=lambda face: not face.condition)
    assert made.hits.size == 0


def test_figures_over_photographs():
    found = tally([Detection(FACE), Detection(NOTHING)], faces(FACE, OTHER), min_iou=0.5)
    empty = tally([Detection(NOTHING)], [], min_iou=0.5)
    perfect = tally([Detection(FACE)], faces(FACE), min_iou=0.5)
    scores = score_boxes([found, empty, perfect])
    assert (scores.true_positives, scores.false_positives, scores.false_negatives) == (2, 2, 1)
    assert scores.precision == 0.5
    assert scores.recall == pytest.approx(2 / 3)
    assert scores.f1 == pytest.approx(4 / 7)
    low, high = scores.recall_interval
    assert low <= scores.recall <= high
    assert np.isnan(scores.average_precision)


def test_average_precision_by_hand():
    """Sure to unsure: face, none, face, of three faces. Precision there is 1, 1/2, 2/3, made
    monotonous 1, 2/3, 2/3; each face found is a third of recall."""
    detections = [Detection(FACE, 0.9), Detection(NOTHING, 0.8), Detection(OTHER, 0.7)]
    made = tally(detections, faces(FACE, OTHER, Box(0, 90, 9, 99)), min_iou=0.5)
    assert average_precision([made]) == pytest.approx((1 + 2 / 3) / 3)


def test_scores_are_probabilities():
    """Two of two found at .9: .1 too modest; one of two at .5, as it should be."""
    sure = tally([Detection(FACE, 0.9), Detection(OTHER, 0.9)], faces(FACE, OTHER), min_iou=0.5)
    half = tally([Detection(FACE, 0.5), Detection(NOTHING, 0.5)], faces(FACE), min_iou=0.5)
    assert score_boxes([sure, half]).calibration_error == pytest.approx(0.05)
    assert np.isnan(score_boxes([tally([Detection(FACE)], [], min_iou=0.5)]).calibration_error)


def test_no_photographs_with_faces_have_no_recall():
    scores = score_boxes([tally([], [], min_iou=0.5)])
    assert np.isnan([scores.recall, scores.precision, scores.average_precision]).all()


def test_ratios_are_drawn_by_whole_rows():
    low, high = bootstrap_ratios(np.array([1, 1, 1]), np.array([2, 2, 2]))
    assert low == high == 0.5
    low, high = bootstrap_ratios(np.array([0, 10]), np.array([10, 10]))
    assert (low, high) == (0, 1)
