"""Precision, recall and average precision of a detector, from the matches of `testbed.boxes`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.metrics import bootstrap_ratios, expected_calibration_error
from testbed.boxes import Matches, average_precision, hits_and_scores


@dataclass(frozen=True, slots=True)
class BoxScores:
    """Figures of a detector over a set of photographs.

    `calibration_error` is the expected calibration error of the scores as probabilities of a face.
    It and `average_precision` are NaN for a detector without scores.
    """

    true_positives: int
    false_positives: int
    false_negatives: int
    precision: float
    recall: float
    f1: float
    precision_interval: tuple[float, float]
    recall_interval: tuple[float, float]
    average_precision: float
    calibration_error: float


def score_boxes(matches: Sequence[Matches]) -> BoxScores:
    """Figures with 95 % intervals, bootstrap over photographs."""
    table = np.array(
        [(each.hits.sum(), (~each.hits).sum(), (~each.found).sum()) for each in matches]
    ).reshape(-1, 3)
    hits, false, missed = (int(value) for value in table.sum(axis=0))
    with np.errstate(invalid="ignore"):
        precision, recall, f1 = (
            float(np.float64(hits) / total)
            for total in (hits + false, hits + missed, hits + (false + missed) / 2)
        )
    return BoxScores(
        true_positives=hits,
        false_positives=false,
        false_negatives=missed,
        precision=precision,
        recall=recall,
        f1=f1,
        precision_interval=bootstrap_ratios(table[:, 0], table[:, 0] + table[:, 1]),
        recall_interval=bootstrap_ratios(table[:, 0], table[:, 0] + table[:, 2]),
        average_precision=average_precision(matches),
        calibration_error=_calibration_error(matches),
    )


def _calibration_error(matches: Sequence[Matches]) -> float:
    hits, scores = hits_and_scores(matches)
    if np.isnan(scores).any() or not len(hits):
        return float("nan")
    return expected_calibration_error(scores, hits)
