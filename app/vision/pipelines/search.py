"""Searches an image for faces, in the same way for every pipeline."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.deadline import Deadline
from app.vision.detectors import default_min_face_px
from app.vision.image import ImageFile, Raster
from app.vision.pipelines.choice import choose
from app.vision.rotation import AUTO, TURNS, FoundFace, search_turned
from app.vision.types import Detection, DetectionOptions

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Search(Generic[Item]):
    """The faces of an image that was turned by `rotation` degrees clockwise, after the detection
    options. The turned image is not kept: it may take as much memory as the image itself."""

    rotation: int
    kept: list[FoundFace[Item]]
    dropped: Counter[str]

    @property
    def evidence(self) -> float:
        """The sum of the detection scores. A face without a score counts 1."""
        scores = [each.detection.score for each in self.kept]
        return sum(1.0 if score is None else score for score in scores)


def smallest_face(file: ImageFile, options: DetectionOptions, share: float) -> float:
    """The smallest face to search for, in pixels. `share` is the detector's default."""
    if options.min_face_px is not None:
        return options.min_face_px
    return default_min_face_px(share, file.width, file.height)


def search(
    raster: Raster,
    min_face_px: float,
    options: DetectionOptions,
    deadline: Deadline,
    find: Callable[[Raster], list[tuple[Detection, Item]]],
) -> Search[Item]:
    """Find faces with `find` and apply the options to them.

    With `rotate=auto`, an image without a face is turned by 90, 180 and 270 degrees, and the turn
    with the most evidence is used; if several have the same, the first. Raises DeadlineExceeded and
    what `find` raises.
    """

    def turn(rotation: int) -> Search[Item]:
        deadline.check()
        found = search_turned(raster, rotation, find)
        kept, dropped = choose(found, min_face_px, options, detection=_detection)
        return Search(rotation, kept, dropped)

    best = turn(0)
    if best.kept or options.rotate != AUTO:
        return best
    for rotation in TURNS:
        turned = turn(rotation)
        if turned.evidence > best.evidence:
            best = turned
    return best


def _detection(found: FoundFace[Item]) -> Detection:
    return found.detection
