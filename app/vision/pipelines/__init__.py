"""Pipelines: from an image file to its faces and persons.

To add a pipeline, write a class with the protocol `Pipeline` in a file of its own and add it to
PIPELINES.
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


class Parts(Protocol):
    """The models and detectors that a pipeline can use. For a name that is None, the default.
    Raises UnknownModel, UnknownDetector and ModelUnavailable."""

    def model(self, kind: str, name: str | None) -> Any:
        """The model of this kind: an object of the class that the kind's cards describe."""

    def detector(self, name: str | None) -> Detector: ...


class Pipeline(Protocol):
    """`model` and `detector_name` are what clients are told about the origin of the emotions and of
    the boxes. `model_kind` is the kind of the models that the pipeline takes."""

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
    def of(cls, parts: Parts, options: AnalysisOptions) -> Self:
        """A pipeline with the model, detector and detection options that `options` name. Raises
        what `parts` raise, and UnfitDetector."""

    def run(self, file: ImageFile, stopwatch: Stopwatch, deadline: Deadline) -> PipelineResult:
        """Read the image, find its faces or persons and classify their emotions.

        Raises what `ImageFile.read` and `deadline` raise, TooMuchWork, and ModelUnavailable if a
        network fails on this image.
        """

    def warm(self) -> None:
        """Run each network once, without an image."""


PIPELINES: dict[str, type[Pipeline]] = {made.name: made for made in (TwoStage, SingleShot)}
