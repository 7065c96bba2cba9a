"""From a picture file to its faces. To add a pipeline: a class with this protocol and a line in
PIPELINES."""

from typing import Protocol, Self

from app.deadline import Deadline
from app.vision.classifier import Classifier
from app.vision.detectors import Detector
from app.vision.image import ImageFile
from app.vision.pipelines.search import Answer
from app.vision.pipelines.single_shot import SingleShot
from app.vision.pipelines.two_stage import TwoStage
from app.vision.single_shot import SingleShotNet
from app.vision.stopwatch import Stopwatch
from app.vision.types import DetectionOptions, ModelRef


class Parts(Protocol):
    """What pipelines are made of: the part of that name, the default one where None. They raise
    UnknownModel, UnknownDetector or ModelUnavailable."""

    def classifier(self, name: str | None) -> Classifier: ...
    def detector(self, name: str | None) -> Detector: ...
    def single_shot(self, name: str | None) -> SingleShotNet: ...


class Pipeline(Protocol):
    """`model` gave the emotions and the detector of that name the boxes, as a client is told;
    `model_kind` is of which kind the cards of its models are."""

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
    def of(
        cls, parts: Parts, model: str | None, detector: str | None, wanted: DetectionOptions
    ) -> Self:
        """Made of these parts. Raises what `parts` do, and UnfitDetector."""

    def run(self, file: ImageFile, stopwatch: Stopwatch, deadline: Deadline) -> Answer:
        """Read the file, find the wanted faces and classify their emotions.

        Raises what `ImageFile.read` and `deadline` raise, TooMuchWork, and ModelUnavailable where a
        network fails on this image.
        """

    def warm(self) -> None:
        """Run everything once, without a picture."""


PIPELINES: dict[str, type[Pipeline]] = {made.name: made for made in (TwoStage, SingleShot)}
