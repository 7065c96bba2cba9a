"""What a pipeline returns for an image."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.vision.types import Face, Person


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """The faces and persons of an image, largest first.

    `size_wh` is the size of the upright image. `dropped` counts the faces and persons that were
    found and left out, by the option that dropped them. `rotation` is by how many degrees clockwise
    the image was turned to find the faces.
    """

    size_wh: tuple[int, int]
    faces: tuple[Face, ...]
    dropped: Mapping[str, int]
    rotation: int = 0
    persons: tuple[Person, ...] = ()
