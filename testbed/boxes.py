"""Evaluation of detections: overlap, matching with annotated faces, and average precision.

Matching follows COCO (cocodataset.org, "Detection evaluation"): in descending order of the score,
each detection is matched with the unmatched face that it overlaps most. A detection that overlaps
only ignored faces (unsure or too small) is ignored too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.vision.types import Box, Detection


class AnnotatedFace(Protocol):
    """An annotated face of an image. `sure` says whether a detector must find it."""

    @property
    def box(self) -> Box: ...

    @property
    def sure(self) -> bool: ...


Face = TypeVar("Face", bound=AnnotatedFace)


def iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(first.x2, second.x2) - max(first.x1, second.x1)
    height = min(first.y2, second.y2) - max(first.y1, second.y1)
    if width <= 0 or height <= 0:
        return 0.0
    overlap = width * height
    return overlap / (first.area + second.area - overlap)


@dataclass(frozen=True, slots=True)
class Matches:
    """The matches of one image, without ignored detections and faces.

    `hits` and `scores` are by detection: whether it matches a face, and the score (NaN without
    one). `found` is by face.
    """

    hits: NDArray[np.bool_]
    scores: NDArray[np.float64]
    found: NDArray[np.bool_]


def match_faces(
    detections: Sequence[Detection],
    faces: Sequence[Face],
    *,
    min_iou: float,
    counts: Callable[[Face], bool] = lambda face: face.sure,
) -> Matches:
    """Match the detections of one image with the annotated faces.

    `counts` says whether a face must be found. Detections of other faces are ignored.
    """
    order = sorted(detections, key=lambda each: (-(each.score or 0.0), -each.box.area))
    required = [face for face in faces if counts(face)]
    ignored = [face for face in faces if not counts(face)]
    found = np.zeros(len(required), dtype=bool)
    hits, scores = [], []
    for detection in order:
        overlaps = [
            0.0 if found[index] else iou(detection.box, face.box)
            for index, face in enumerate(required)
        ]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best >= 0 and overlaps[best] >= min_iou:
            found[best] = True
            hits.append(True)
        elif any(iou(detection.box, face.box) >= min_iou for face in ignored):
            continue
        else:
            hits.append(False)
        scores.append(np.nan if detection.score is None else detection.score)
    return Matches(np.array(hits, dtype=bool), np.array(scores, dtype=float), found)


def average_precision(matches: Sequence[Matches]) -> float:
    """Area under the monotone envelope of the precision-recall curve.

    Everingham et al. 2010, "The PASCAL VOC challenge", section 4.2, with all points instead of
    eleven. NaN without faces or without scores.
    """
    faces = sum(len(each.found) for each in matches)
    hits, scores = hits_and_scores(matches)
    if np.isnan(scores).any() or not faces:
        return float("nan")
    ordered = hits[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float((highest * ordered).sum() / faces)


def hits_and_scores(matches: Sequence[Matches]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Hits and scores of all detections that are not ignored."""
    return (
        np.concatenate([np.zeros(0, dtype=bool), *(each.hits for each in matches)]),
        np.concatenate([np.zeros(0), *(each.scores for each in matches)]),
    )
