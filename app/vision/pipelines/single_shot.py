"""The pipeline that uses one single-shot network to detect and classify faces."""

from typing import TYPE_CHECKING, Self

from app.deadline import Deadline
from app.errors import UnfitDetector
from app.vision.card import SINGLE_SHOT
from app.vision.image import ImageFile
from app.vision.pipelines.result import PipelineResult
from app.vision.pipelines.search import effective_min_face_px, search
from app.vision.request import AnalysisOptions
from app.vision.single_shot import SingleShotNet
from app.vision.stopwatch import Stopwatch
from app.vision.tiles import searched_side
from app.vision.types import DetectionOptions, Face, ModelRef

if TYPE_CHECKING:
    from app.vision.pipelines import ModelSource

MIN_FACE_SHARE = 0.05  # see app.vision.detectors.default_min_face_px


class SingleShot:
    name = SINGLE_SHOT
    title = "Single-shot network"
    description = (
        "One small network detects the faces and classifies their emotions in one pass. It "
        "recognises surprise less often than a classifier does."
    )
    model_kind = SINGLE_SHOT
    takes_detector = False
    detector_name = SINGLE_SHOT

    def __init__(self, net: SingleShotNet, detection: DetectionOptions) -> None:
        self._net = net
        self._detection = detection

    @classmethod
    def create(cls, source: "ModelSource", options: AnalysisOptions) -> Self:
        """Create the pipeline. Raises UnfitDetector if the options choose a detector other than
        the network itself, and the errors of `source`."""
        if options.detector not in (None, cls.detector_name):
            raise UnfitDetector(
                f"the pipeline {cls.name!r} has its own detector: leave out detector or choose "
                "another pipeline"
            )
        return cls(source.model(cls.model_kind, options.model), options.detection)

    @property
    def model(self) -> ModelRef:
        return self._net.card.ref

    def run(self, file: ImageFile, stopwatch: Stopwatch, deadline: Deadline) -> PipelineResult:
        min_face_px = effective_min_face_px(file, self._detection, MIN_FACE_SHARE)
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
                self._detection,
                deadline,
                lambda image: self._net.find(image, min_face_px, deadline),
            )
        faces = tuple(
            Face(each.detection.box, each.item, each.detection.score) for each in searched.faces
        )
        return PipelineResult(raster.size_wh, faces, searched.dropped, searched.rotation)

    def warm_up(self) -> None:
        self._net.warm_up()
