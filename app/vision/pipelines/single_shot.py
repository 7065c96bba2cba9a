"""Find the faces and name their emotions in one pass of one network."""

from collections import Counter
from typing import TYPE_CHECKING, Self

from app.deadline import Deadline
from app.errors import UnfitDetector
from app.vision.card import SINGLE_SHOT
from app.vision.image import ImageFile, Raster
from app.vision.pipelines.choice import choose
from app.vision.single_shot import SingleShotNet
from app.vision.stopwatch import Stopwatch
from app.vision.types import Face, ModelRef, Wanted

if TYPE_CHECKING:
    from app.vision.pipelines import Parts

MIN_FACE_SHARE = 0.05  # of the picture's longer side, unless told otherwise


class SingleShot:
    name = SINGLE_SHOT
    title = "One-pass network"
    description = "One small network finds the faces and names their emotions in one pass."
    model_kind = SINGLE_SHOT
    detector_name = SINGLE_SHOT

    def __init__(self, net: SingleShotNet, wanted: Wanted) -> None:
        self._net = net
        self._wanted = wanted

    @classmethod
    def of(cls, parts: "Parts", model: str | None, detector: str | None, wanted: Wanted) -> Self:
        """Raises UnfitDetector where another detector than the network itself is named."""
        if detector not in (None, cls.detector_name):
            raise UnfitDetector(
                f"the pipeline {cls.name!r} finds the faces itself: leave out detector, or pipeline"
            )
        return cls(parts.single_shot(model), wanted)

    @property
    def model(self) -> ModelRef:
        return self._net.card.ref

    def run(
        self, file: ImageFile, stopwatch: Stopwatch, deadline: Deadline
    ) -> tuple[Raster, tuple[Face, ...], Counter[str]]:
        min_face_px = self._wanted.min_face_px
        if min_face_px is None:
            min_face_px = MIN_FACE_SHARE * file.longer_side
        deadline.check()
        with stopwatch("decode"):
            size = self._net.size_for(file.longer_side, min_face_px)
            raster = file.read(scale=min(1.0, size / file.longer_side), color=True)
        deadline.check()
        with stopwatch("detect"):
            found = self._net.find(raster, min_face_px, deadline)
            kept, dropped = choose(found, min_face_px, self._wanted, detection=lambda each: each[0])
        faces = tuple(Face(each.box, emotions, each.score) for each, emotions in kept)
        return raster, faces, dropped

    def warm(self) -> None:
        self._net.warm()
