"""Filters the faces that a pipeline found by the detection options."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

from app.vision.types import Detection, DetectionOptions

Found = TypeVar("Found")


def filter_faces(
    found: Iterable[Found],
    min_face_px: float,
    options: DetectionOptions,
    *,
    detection: Callable[[Found], Detection],
) -> tuple[list[Found], Counter[str]]:
    """Return the accepted items, largest first, and the numbers of dropped items by option.

    `detection` returns the detection of an item. Items of equal size are ordered from left to right
    and then from top to bottom, so the result does not depend on the order of `found`.
    """
    accepted: list[Found] = []
    dropped = Counter(min_face_px=0, min_confidence=0, max_faces=0)

    def rank(each: Found) -> tuple[float, ...]:
        box = detection(each).box
        return -box.area, *box.xyxy

    for each in sorted(found, key=rank):
        box, score = detection(each).box, detection(each).score
        if box.longer_side < min_face_px:
            dropped["min_face_px"] += 1
        elif score is not None and score < options.min_confidence:
            dropped["min_confidence"] += 1
        elif len(accepted) >= options.max_faces:
            dropped["max_faces"] += 1
        else:
            accepted.append(each)
    return accepted, dropped
