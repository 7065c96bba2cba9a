"""Find the faces and name their emotions in one pass of one network."""

from typing import TYPE_CHECKING, Self

from app.deadline import Deadline
from app.errors import UnfitDetector
from app.vision.card import SINGLE_SHOT
from app.vision.image import ImageFile
from app.vision.pipelines.search import Answer, search, smallest_face
from app.vision.single_shot import SingleShotNet
from app.vision.stopwatch import Stopwatch
from app.vision.tiles import searched_side
from app.vision.types import DetectionOptions, Face, ModelRef, Scores

if TYPE_CHECKING:
    from app.vision.pipelines import Parts

MIN_FACE_SHARE = 0.05  # see app.vision.detectors.default_min_face_px


class SingleShot:
    name = SINGLE_SHOT
    title = "One-pass network"
    description = "One small network finds the faces and names their emotions in one pass."
    model_kind = SINGLE_SHOT
    takes_detector = False
    detector_name = SINGLE_SHOT

    def __init__(self, net: SingleShotNet, wanted: DetectionOptions) -> None:
        self._net = net
        self._wanted = wanted

    @classmethod
    def of(
        cls, parts: "Parts", model: str | None, detector: str | None, wanted: DetectionOptions
    ) -> Self:
        """Raises UnfitDetector where another detector than the network itself is named."""
        if detector not in (None, cls.detector_name):
            raise UnfitDetector(
                f"the pipeline {cls.name!r} finds the faces itself: leave out detector, or pipeline"
            )
        return cls(parts.single_shot(model), wanted)

    @property
    def model(self) -> ModelRef:
        return self._net.card.ref

    def run(self, file: ImageFile, stopwatch: Stopwatch, deadline: Deadline) -> Answer:
        min_face_px = smallest_face(file, self._wanted, MIN_FACE_SHARE)
        side = searched_side(file.width, file.height)
        deadline.check()
        with stopwatch("decode"):
            size = self._net.size_for(side, min_face_px)
            raster = file.read(scale=min(1.0, size / side), color=True)
        deadline.check()
        with stopwatch("detect"):
            searched = search(
                raster,
                min_face_px,
                self._wanted,
                deadline,
                lambda image: self._net.find(image, min_face_px, deadline),
            )
        faces = tuple(
            Face(each.detection.box, Scores(each.item), each.detection.score)
            for each in searched.kept
        )
        return Answer(raster.size_wh, faces, searched.dropped, searched.rotation)

    def warm(self) -> None:
        self._net.warm()
