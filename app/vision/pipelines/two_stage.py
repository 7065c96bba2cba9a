"""The pipeline that uses a detector to find the faces and a classifier to score their emotions."""

from typing import TYPE_CHECKING, Self

import numpy as np

from app.deadline import Deadline
from app.errors import TooMuchWork
from app.vision.card import CLASSIFIER
from app.vision.classifier import Classifier
from app.vision.detectors import Detector
from app.vision.image import ImageFile, Raster
from app.vision.pipelines.result import PipelineResult
from app.vision.pipelines.search import effective_min_face_px, search
from app.vision.request import AnalysisOptions
from app.vision.rotation import rotated_gray
from app.vision.stopwatch import Stopwatch
from app.vision.tiles import searched_side
from app.vision.types import Detection, DetectionOptions, Face, ModelRef

if TYPE_CHECKING:
    from app.vision.pipelines import ModelSource


class TwoStage:
    name = "two_stage"
    title = "Detector and classifier"
    description = "A detector finds the faces, then a classifier scores the emotions of each face."
    model_kind = CLASSIFIER
    takes_detector = True

    def __init__(
        self, detector: Detector, classifier: Classifier, detection: DetectionOptions
    ) -> None:
        self.detector = detector
        self.classifier = classifier
        self._detection = detection

    @classmethod
    def create(cls, source: "ModelSource", options: AnalysisOptions) -> Self:
        detector = source.detector(options.detector)
        return cls(detector, source.model(cls.model_kind, options.model), options.detection)

    @property
    def model(self) -> ModelRef:
        return self.classifier.card.ref

    @property
    def detector_name(self) -> str:
        return self.detector.name

    def run(self, file: ImageFile, stopwatch: Stopwatch, deadline: Deadline) -> PipelineResult:
        """See `Pipeline.run`. The classifier takes all faces of the image in one batch."""
        if file.pixels > self.detector.max_pixels:
            raise TooMuchWork(
                f"the detector {self.detector.name!r} takes images of up to "
                f"{self.detector.max_pixels:,} pixels, and the image has {file.pixels:,}: send a "
                "smaller image or choose another detector"
            )
        min_face_px = effective_min_face_px(file, self._detection, self.detector.min_face_share)
        side = searched_side(file.width, file.height)
        deadline.check()
        with stopwatch("decode"):
            raster = file.read(
                scale=min(1.0, self._scale_for(side, min_face_px)),
                color=self.detector.needs_color,
            )
        deadline.check()
        with stopwatch("detect"):
            searched = search(
                raster,
                min_face_px,
                self._detection,
                deadline,
                lambda image: _without_items(self.detector.detect(image, min_face_px, deadline)),
            )
        with stopwatch("classify"):
            emotions = self.classifier.classify(
                rotated_gray(raster, searched.rotation),
                [each.rotated_box.scaled(raster.scale) for each in searched.faces],
                box_scale=self.detector.box_scale,
                deadline=deadline,
            )
        faces = tuple(
            Face(each.detection.box, scores, each.detection.score)
            for each, scores in zip(searched.faces, emotions, strict=True)
        )
        return PipelineResult(raster.size_wh, faces, searched.dropped, searched.rotation)

    def warm_up(self) -> None:
        size = self.classifier.card.input_size
        side = 4 * size
        blank = np.zeros((side, side, 3), np.uint8)
        raster = Raster(blank[:, :, 0], (side, side), colors=blank)
        self.detector.detect(raster, min_face_px=size)
        self.classifier.predict(blank[np.newaxis, :size, :size, 0])

    def _scale_for(self, side: int, min_face_px: float) -> float:
        """Return the scale at which to read the image: the smallest face must be large enough for
        the detector and must fill the crop of the classifier. `side`: see `searched_side`."""
        card = self.classifier.card
        crop_px = min_face_px * self.detector.box_scale * card.crop_scale
        classifier_scale = card.input_size / crop_px if crop_px else 1.0
        return max(self.detector.scale_for(side, min_face_px), classifier_scale)


def _without_items(detections: list[Detection]) -> list[tuple[Detection, None]]:
    """Pair each detection with None, because `search` requires pairs of a detection and an item."""
    return [(each, None) for each in detections]
