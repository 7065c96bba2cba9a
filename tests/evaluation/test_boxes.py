"""Matching of detections with faces, and the figures, on small examples."""

import numpy as np
import pytest

from app.vision.types import Box, Detection
from evaluation.boxes import score_boxes
from evaluation.metrics import bootstrap_ratios
from testbed.boxes import average_precision, match_faces
from training.data.photos import AnnotatedFace

FACE = Box(0, 0, 10, 10)
OTHER = Box(100, 0, 110, 10)
NOTHING = Box(50, 50, 60, 60)


def faces(*boxes, **options):
    return [AnnotatedFace(box, **options) for box in boxes]


def test_match_faces_matches_each_face_once_by_score():
    detections = [Detection(FACE, 0.4), Detection(Box(1, 0, 11, 10), 0.9), Detection(NOTHING, 0.6)]
    result = match_faces(detections, faces(FACE, OTHER), min_iou=0.5)
    assert result.hits.tolist() == [True, False, False]
    assert result.scores.tolist() == [0.9, 0.6, 0.4]
    assert result.found.tolist() == [True, False]


@pytest.mark.parametrize(("min_iou", "hit"), [(0.5, True), (0.51, False)])
def test_match_faces_requires_the_minimum_iou(min_iou, hit):
    half = Box(0, 0, 10, 5)
    result = match_faces([Detection(half)], faces(FACE), min_iou=min_iou)
    assert result.hits.tolist() == [hit]


def test_match_faces_ignores_detections_of_uncounted_faces():
    unsure = faces(OTHER, sure=False)
    result = match_faces(
        [Detection(OTHER), Detection(OTHER), Detection(NOTHING)], unsure, min_iou=0.5
    )
    assert result.hits.tolist() == [False]
    assert result.found.size == 0
    masked = AnnotatedFace(FACE, condition="masked")
    result = match_faces(
        [Detection(FACE)], [masked], min_iou=0.5, counts=lambda face: not face.condition
    )
    assert result.hits.size == 0


def test_score_boxes_over_photographs():
    found = match_faces([Detection(FACE), Detection(NOTHING)], faces(FACE, OTHER), min_iou=0.5)
    empty = match_faces([Detection(NOTHING)], [], min_iou=0.5)
    perfect = match_faces([Detection(FACE)], faces(FACE), min_iou=0.5)
    scores = score_boxes([found, empty, perfect])
    assert (scores.true_positives, scores.false_positives, scores.false_negatives) == (2, 2, 1)
    assert scores.precision == 0.5
    assert scores.recall == pytest.approx(2 / 3)
    assert scores.f1 == pytest.approx(4 / 7)
    low, high = scores.recall_interval
    assert low <= scores.recall <= high
    assert np.isnan(scores.average_precision)


def test_average_precision_of_three_detections():
    """Detections by score: correct, false, correct, of three faces.

    The precision is 1, 1/2, 2/3, and the monotone envelope 1, 2/3, 2/3. Each found face adds a
    third of recall.
    """
    detections = [Detection(FACE, 0.9), Detection(NOTHING, 0.8), Detection(OTHER, 0.7)]
    result = match_faces(detections, faces(FACE, OTHER, Box(0, 90, 9, 99)), min_iou=0.5)
    assert average_precision([result]) == pytest.approx((1 + 2 / 3) / 3)


def test_calibration_error_takes_scores_as_probabilities():
    """Two of two correct at .9 have an error of .1; one of two correct at .5 has none."""
    sure = match_faces(
        [Detection(FACE, 0.9), Detection(OTHER, 0.9)], faces(FACE, OTHER), min_iou=0.5
    )
    half = match_faces([Detection(FACE, 0.5), Detection(NOTHING, 0.5)], faces(FACE), min_iou=0.5)
    assert score_boxes([sure, half]).calibration_error == pytest.approx(0.05)
    assert np.isnan(
        score_boxes([match_faces([Detection(FACE)], [], min_iou=0.5)]).calibration_error
    )


def test_score_boxes_is_nan_without_faces():
    scores = score_boxes([match_faces([], [], min_iou=0.5)])
    assert np.isnan([scores.recall, scores.precision, scores.average_precision]).all()


def test_bootstrap_ratios_draws_whole_rows():
    low, high = bootstrap_ratios(np.array([1, 1, 1]), np.array([2, 2, 2]))
    assert low == high == 0.5
    low, high = bootstrap_ratios(np.array([0, 10]), np.array([10, 10]))
    assert (low, high) == (0, 1)
