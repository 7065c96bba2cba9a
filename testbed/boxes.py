"""Boxes compared with marked faces: overlap, matching, and average precision. Pure functions.

Matching follows COCO (cocodataset.org, "Detection evaluation"): detections are taken in descending
order of their scores, and each takes the face that it overlaps most among the faces that are left.
A detection that overlaps only faces that do not count (unsure, too small) does not count either.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.vision.types import Box, Detection


class Marked(Protocol):
    """A face that somebody marked on an image. `sure`: whether a detector must find it."""

    @property
    def box(self) -> Box: ...

    @property
    def sure(self) -> bool: ...


Face = TypeVar("Face", bound=Marked)


def iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(first.x2, second.x2) - max(first.x1, second.x1)
    height = min(first.y2, second.y2) - max(first.y1, second.y1)
    if width <= 0 or height <= 0:
        return 0.0
    overlap = width * height
    return overlap / (first.area + second.area - overlap)


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
    faces: Sequence[Face],
    *,
    min_iou: float,
    counts: Callable[[Face], bool] = lambda face: face.sure,
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


def average_precision(tallies: Sequence[Tally]) -> float:
    """Area under the precision-recall curve, precision made monotonous (Everingham et al. 2010,
    "The PASCAL VOC challenge", section 4.2, with all points instead of eleven)."""
    faces = sum(len(each.found) for each in tallies)
    hits, scores = joined(tallies)
    if np.isnan(scores).any() or not faces:
        return float("nan")
    ordered = hits[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float((highest * ordered).sum() / faces)


def joined(tallies: Sequence[Tally]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Hits and scores of all detections that count."""
    return (
        np.concatenate([np.zeros(0, dtype=bool), *(each.hits for each in tallies)]),
        np.concatenate([np.zeros(0), *(each.scores for each in tallies)]),
    )
