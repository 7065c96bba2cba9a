"""How well faces are found *and* named: average precision by expression, confusion, portraits.

Of answers as they are served; any pipeline makes them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.vision.types import Analysis, Box, Detection
from evaluation.field import MATCH_IOU
from testbed.boxes import average_precision, iou, tally
from training.data.photos import PORTRAITS, MarkedFace, Portrait, read_photographs
from training.data.scenes import Sources, scene
from training.votes import LABELS

MAP_IOU = 0.5
NO_FACE = "no face"  # in confusions
SCENES, SCENE_SIDE = 600, 320


@dataclass(frozen=True)
class Shot:
    """What a system made of one picture, and its milliseconds, reading the file included."""

    analysis: Analysis
    milliseconds: float

    @property
    def detections(self) -> list[Detection]:
        return [Detection(face.box, face.detection_score) for face in self.analysis.faces]

    def detections_of(self, emotion: str) -> list[Detection]:
        """Every face as one that shows `emotion`, with the probability that it does."""
        return [
            Detection(
                face.box,
                (1.0 if face.detection_score is None else face.detection_score)
                * face.emotions[emotion],
            )
            for face in self.analysis.faces
        ]


@dataclass(frozen=True)
class Truth:
    """What is known of one picture: boxes of faces and which of LABELS each shows, None where
    nobody can tell."""

    faces: tuple[tuple[Box, str | None], ...]


@dataclass(frozen=True)
class Expressions:
    """`precisions` holds the AP of each emotion that any face shows, `counts` how many
    do, `faces` the AP of faces whatever they show; `confusion` (labels + 1, labels + 1) counts at
    the served score, its last row and column being "no face"."""

    precisions: dict[str, float]
    counts: dict[str, int]
    faces: float
    confusion: NDArray[np.int64]

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.precisions.values())))


def expressions(
    found: Sequence[Shot], truths: Sequence[Truth], *, min_iou: float = MAP_IOU
) -> Expressions:
    """Of one system on pictures whose expressions are known; `min_iou` is that of the AP."""
    shown = [label for truth in truths for _, label in truth.faces if label]
    counts = {label: shown.count(label) for label in LABELS if label in shown}
    precisions = {
        label: average_precision(
            [
                tally(shot.detections_of(label), _marked(truth, label), min_iou=min_iou)
                for shot, truth in zip(found, truths, strict=True)
            ]
        )
        for label in counts
    }
    faces = average_precision(
        [
            tally(_scored(shot), _marked(truth, None), min_iou=min_iou)
            for shot, truth in zip(found, truths, strict=True)
        ]
    )
    return Expressions(precisions, counts, faces, confusion(found, truths))


def _scored(shot: Shot) -> list[Detection]:
    return [
        Detection(each.box, 1.0 if each.score is None else each.score) for each in shot.detections
    ]


def _marked(truth: Truth, label: str | None) -> list[MarkedFace]:
    """The faces that show `label` (any where None) must be found; those that nobody can tell count
    neither for nor against; the others are wrong."""
    return [
        MarkedFace(box, sure=shows is not None)
        for box, shows in truth.faces
        if shows is None or label in (None, shows)
    ]


def confusion(found: Sequence[Shot], truths: Sequence[Truth]) -> NDArray[np.int64]:
    """Counts (labels + 1, labels + 1) of truth by answer, "no face" last: each known face with the
    box that overlaps it most, and what is left of the boxes."""
    matrix = np.zeros((len(LABELS) + 1, len(LABELS) + 1), dtype=np.int64)
    for shot, truth in zip(found, truths, strict=True):
        left = list(shot.analysis.faces)
        for box, label in truth.faces:
            best = max(left, key=lambda face: iou(face.box, box), default=None)
            hit = best is not None and iou(best.box, box) >= MATCH_IOU
            if best is not None and hit:
                left.remove(best)
            if label:
                answer = LABELS.index(best.dominant) if best is not None and hit else -1
                matrix[LABELS.index(label), answer] += 1
        for face in left:
            matrix[-1, LABELS.index(face.dominant)] += 1
    return matrix


@dataclass(frozen=True)
class EndToEnd:
    """Shares of portraits whose main face is found, and found and named right; the latter by
    expression too."""

    found: float
    right: float
    by_expression: dict[str, float]


def end_to_end(found: Sequence[Shot], portraits: Sequence[Portrait]) -> EndToEnd:
    hits, right = [], []
    for shot, portrait in zip(found, portraits, strict=True):
        best = max(shot.analysis.faces, key=lambda face: iou(face.box, portrait.box), default=None)
        hit = best is not None and iou(best.box, portrait.box) >= MATCH_IOU
        hits.append(hit)
        right.append(best is not None and hit and best.dominant == portrait.expression)
    named = np.array([portrait.expression for portrait in portraits])
    return EndToEnd(
        found=float(np.mean(hits)),
        right=float(np.mean(right)),
        by_expression={
            label: float(np.array(right)[named == label].mean())
            for label in LABELS
            if (named == label).any()
        },
    )


def portrait_truths(photos: Path, portraits: Sequence[Portrait], split: str) -> list[Truth]:
    """What is known of each portrait: its main face shows an expression, others may be there."""
    others = {each.path: each.faces for each in read_photographs(photos, PORTRAITS, split=split)}
    return [
        Truth(
            (
                (portrait.box, portrait.expression),
                *((face.box, None) for face in others[portrait.path] if face.box != portrait.box),
            )
        )
        for portrait in portraits
    ]


def made_scenes(sources: Sources) -> Iterable[tuple[bytes, Truth]]:
    """Files of scenes with FER+'s faces alone on photographs without any, and what they show."""
    only = Sources(((1.0, sources.empty),), sources.empty, sources.crops, sources.crops)
    for number in range(SCENES):
        made = scene(only, number, side=SCENE_SIDE, seed=0, mosaics=False)
        faces = tuple(
            (Box(*box), LABELS[int(target.argmax())] if sure and target.any() else None)
            for box, sure, target in zip(made.boxes.tolist(), made.sure, made.targets, strict=True)
        )
        yield cv2.imencode(".png", made.image)[1].tobytes(), Truth(faces)
