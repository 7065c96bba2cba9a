"""Searches an image for faces. Every pipeline uses this search."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.deadline import Deadline
from app.vision.detectors import default_min_face_px
from app.vision.image import ImageFile, Raster
from app.vision.pipelines.face_filter import filter_faces
from app.vision.rotation import AUTO, ROTATIONS, RotatedDetection, search_rotated
from app.vision.types import Detection, DetectionOptions

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class SearchResult(Generic[Item]):
    """The result of a search in an image that was rotated by `rotation` degrees clockwise.

    `faces` are the faces that the detection options accept. `dropped` counts the others, by option.
    The rotated image is not stored, because it can be as large as the original.
    """

    rotation: int
    faces: list[RotatedDetection[Item]]
    dropped: Counter[str]

    @property
    def total_score(self) -> float:
        """The sum of the detection scores. A face without a score counts as 1."""
        scores = [face.detection.score for face in self.faces]
        return sum(1.0 if score is None else score for score in scores)


def effective_min_face_px(file: ImageFile, options: DetectionOptions, share: float) -> float:
    """Return the minimum face size in pixels: the option, or the default for this image.

    `share` is the `min_face_share` of the detector.
    """
    if options.min_face_px is not None:
        return options.min_face_px
    return default_min_face_px(share, file.width, file.height)


def search(
    raster: Raster,
    min_face_px: float,
    options: DetectionOptions,
    deadline: Deadline,
    find: Callable[[Raster], list[tuple[Detection, Item]]],
) -> SearchResult[Item]:
    """Find faces with `find` and apply the detection options.

    With `rotate=auto`, an image without a face is also searched after rotations by 90, 180 and 270
    degrees. The result is the rotation with the largest total score; ties go to the first. Raises
    DeadlineExceeded and the errors of `find`.
    """

    def search_at(rotation: int) -> SearchResult[Item]:
        deadline.check()
        found = search_rotated(raster, rotation, find)
        faces, dropped = filter_faces(found, min_face_px, options, detection=_detection)
        return SearchResult(rotation, faces, dropped)

    best = search_at(0)
    if best.faces or options.rotate != AUTO:
        return best
    for rotation in ROTATIONS:
        candidate = search_at(rotation)
        if candidate.total_score > best.total_score:
            best = candidate
    return best


def _detection(found: RotatedDetection[Item]) -> Detection:
    return found.detection
