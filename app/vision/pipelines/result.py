"""The result of a pipeline for one image."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.vision.types import Face, Person


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """The faces and persons of an image, largest first.

    `size_wh` is the size of the upright image in pixels. `dropped` counts the detected faces and
    persons that the detection options excluded, by option. `rotation` is the clockwise rotation
    in degrees that was needed to find the faces.
    """

    size_wh: tuple[int, int]
    faces: tuple[Face, ...]
    dropped: Mapping[str, int]
    rotation: int = 0
    persons: tuple[Person, ...] = ()
