"""Pipelines: each analyses an image file and returns the faces and persons.

To add a pipeline, write a class with the protocol `Pipeline` in a new file and add it to PIPELINES.
"""

from typing import Any, Protocol, Self

from app.deadline import Deadline
from app.vision.detectors import Detector
from app.vision.image import ImageFile
from app.vision.pipelines.result import PipelineResult
from app.vision.pipelines.single_shot import SingleShot
from app.vision.pipelines.two_stage import TwoStage
from app.vision.request import AnalysisOptions
from app.vision.stopwatch import Stopwatch
from app.vision.types import ModelRef


class ModelSource(Protocol):
    """The source of models and detectors for a pipeline. The name None means the default. Both
    methods raise ModelUnavailable."""

    def model(self, kind: str, name: str | None) -> Any:
        """Return the model of this kind and name, as the loader of the kind returns it. Raises
        UnknownModel."""

    def detector(self, name: str | None) -> Detector:
        """Return the detector with this name. Raises UnknownDetector."""


class Pipeline(Protocol):
    """Analyses images with a model and, for some pipelines, a detector.

    `title` and `description` are shown to users. `model_kind` is the kind of the models that the
    pipeline uses. Responses contain `model` as the source of the emotions and `detector_name` as
    the source of the boxes.
    """

    name: str
    title: str
    description: str
    model_kind: str
    takes_detector: bool  # whether a request can choose the detector

    @property
    def model(self) -> ModelRef: ...

    @property
    def detector_name(self) -> str: ...

    @classmethod
    def create(cls, source: ModelSource, options: AnalysisOptions) -> Self:
        """Create the pipeline with the model, the detector and the detection options of `options`.
        Raises the errors of `source`, and UnfitDetector."""

    def run(self, file: ImageFile, stopwatch: Stopwatch, deadline: Deadline) -> PipelineResult:
        """Read the image, find the faces or persons, and score their emotions.

        Raises the errors of `ImageFile.read`, DeadlineExceeded, TooMuchWork, and ModelUnavailable
        if a network fails on this image.
        """

    def warm_up(self) -> None:
        """Run each network once on a blank image."""


PIPELINES: dict[str, type[Pipeline]] = {
    pipeline.name: pipeline for pipeline in (TwoStage, SingleShot)
}
