"""Which of the faces that were found are wanted, the same for every pipeline."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TypeVar

from app.vision.types import Detection, DetectionOptions

Found = TypeVar("Found")


def choose(
    found: Iterable[Found],
    min_face_px: float,
    wanted: DetectionOptions,
    *,
    detection: Callable[[Found], Detection],
) -> tuple[list[Found], Counter[str]]:
    """The wanted ones, largest first, and how many are not, by the name of the wish that they do
    not fulfil. Equal sizes are ordered from the left and the top, so the answer never depends on
    the order in which they were found."""
    kept: list[Found] = []
    dropped = Counter(min_face_px=0, min_confidence=0, max_faces=0)

    def rank(each: Found) -> tuple[float, ...]:
        box = detection(each).box
        return -box.area, *box.xyxy

    for each in sorted(found, key=rank):
        box, score = detection(each).box, detection(each).score
        if box.longer_side < min_face_px:
            dropped["min_face_px"] += 1
        elif score is not None and score < wanted.min_confidence:
            dropped["min_confidence"] += 1
        elif len(kept) >= wanted.max_faces:
            dropped["max_faces"] += 1
        else:
            kept.append(each)
    return kept, dropped
