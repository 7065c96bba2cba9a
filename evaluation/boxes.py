"""Counting a detector's boxes against the faces of photographs. Pure functions.

As COCO counts (cocodataset.org, "Detection evaluation"): detections, the surest first, each take
the face that they overlap most of those that are left. What overlaps only a face that counts
neither for nor against (unsure, too small) does not count either.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.vision.types import Detection
from evaluation.metrics import bootstrap_ratios, expected_calibration_error
from training.data.photos import MarkedFace, iou

Counts = Callable[[MarkedFace], bool]


@dataclass(frozen=True, slots=True)
class Tally:
    """What a detector made of one photograph: for each detection that counts whether it is a face
    (`hits`) and its score (NaN where it has none), and for each face that counts whether it was
    found."""

    hits: NDArray[np.bool_]
    scores: NDArray[np.float64]
    found: NDArray[np.bool_]


def tally(
    detections: Sequence[Detection],
    faces: Sequence[MarkedFace],
    *,
    min_iou: float,
    counts: Counts = lambda face: face.sure,
) -> Tally:
    """Match one photograph's detections with its faces; `counts` says which of these must be
    found. The others take any number of detections without it being noticed."""
    order = sorted(detections, key=lambda each: (-(each.score or 0.0), -each.box.area))
    wanted = [face for face in faces if counts(face)]
    others = [face for face in faces if not counts(face)]
    found = np.zeros(len(wanted), dtype=bool)
    hits, scores = [], []
    for detection in order:
        overlaps = [
            0.0 if found[index] else iou(detection.box, face.box)
            for index, face in enumerate(wanted)
        ]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best >= 0 and overlaps[best] >= min_iou:
            found[best] = True
            hits.append(True)
        elif any(iou(detection.box, face.box) >= min_iou for face in others):
            continue
        else:
            hits.append(False)
        scores.append(np.nan if detection.score is None else detection.score)
    return Tally(np.array(hits, dtype=bool), np.array(scores, dtype=float), found)


@dataclass(frozen=True, slots=True)
class BoxScores:
    """`average_precision` and `calibration_error`, the expected calibration error of the scores as
    probabilities of being a face, are NaN for a detector without scores."""

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


def score_boxes(rollups: Sequence[Tally]) -> BoxScores:
    """Figures over photographs, with 95 % bootstrap intervals that draw whole photographs."""
    table = np.array(
        [(each.hits.sum(), (~each.hits).sum(), (~each.found).sum()) for each in rollups]
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
        average_precision=average_precision(rollups),
        calibration_error=_calibration_error(rollups),
    )


def average_precision(rollups: Sequence[Tally]) -> float:
    """Area under the precision-recall curve, precision made monotonous (Everingham et al. 2010,
    "The PASCAL VOC challenge", section 4.2, with all points instead of eleven)."""
    faces = sum(len(each.found) for each in rollups)
    hits, scores = _joined(rollups)
    if np.isnan(scores).any() or not faces:
        return float("nan")
    ordered = hits[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float((highest * ordered).sum() / faces)


def _calibration_error(rollups: Sequence[Tally]) -> float:
    hits, scores = _joined(rollups)
    if np.isnan(scores).any() or not len(hits):
        return float("nan")
    return expected_calibration_error(scores, hits)


def _joined(rollups: Sequence[Tally]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Hits and scores of all detections that count."""
    return (
        np.concatenate([np.zeros(0, dtype=bool), *(each.hits for each in rollups)]),
        np.concatenate([np.zeros(0), *(each.scores for each in rollups)]),
    )
