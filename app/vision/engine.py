"""Builds, caches and warms what a request names, and says when it is ready."""

import logging
from dataclasses import replace
from pathlib import Path

import cv2

from app.budget import Budget
from app.deadline import NEVER, Deadline
from app.errors import (
    EmotionError,
    ImageTooLarge,
    ModelUnavailable,
    UnknownDetector,
    UnknownPipeline,
)
from app.vision.card import CLASSIFIER, SINGLE_SHOT
from app.vision.classifier import Classifier
from app.vision.detectors import DETECTORS, Detector
from app.vision.detectors.single_shot import SingleShotDetector
from app.vision.folders import ModelFolders
from app.vision.image import ImageFile
from app.vision.pipelines import PIPELINES, Pipeline
from app.vision.pipelines.two_stage import TwoStage
from app.vision.registry import BEING_CHECKED, WAIT_SECONDS, LoadOnce, ModelRegistry, ModelStatus
from app.vision.single_shot import SingleShotNet
from app.vision.stopwatch import Stopwatch
from app.vision.types import Analysis, DetectionOptions

log = logging.getLogger(__name__)

ALL_FACES = DetectionOptions()
WARM_WAIT_SECONDS = 0.5  # at the start, for the checks of each kind of models


class Engine:
    """Cheap to construct: nothing is loaded before it is asked for, or before `warm`.

    One engine serves all threads of a process. It must not be used before a fork.
    """

    def __init__(
        self,
        models_dir: Path,
        *,
        model: str,
        detector: str,
        pipeline: str = TwoStage.name,
        max_image_bytes: int,
        max_pixels: int,
        max_faces: int,
        onnx_threads: int = 1,
        opencv_threads: int = 1,
    ) -> None:
        self.default_detector = detector
        self.default_pipeline = pipeline
        self._folders = ModelFolders(models_dir)
        self._classifiers = ModelRegistry(
            self._folders, CLASSIFIER, Classifier, default=model, threads=onnx_threads
        )
        self._single_shots = ModelRegistry(
            self._folders, SINGLE_SHOT, SingleShotNet, default=SINGLE_SHOT, threads=onnx_threads
        )
        self._onnx_threads = onnx_threads
        self._max_image_bytes = max_image_bytes
        self._max_pixels = max_pixels
        self._pixels = Budget(max_pixels)  # of the images that are analysed at the same time
        self._max_faces = max_faces
        cv2.setNumThreads(opencv_threads)  # of the whole process; OpenCV knows no smaller scope
        self._detectors: LoadOnce[Detector] = LoadOnce()
        self._warm = False
        self._problem: str | None = None

    def analyse(
        self,
        data: bytes,
        *,
        file_name: str,
        threshold: float,
        pipeline: str | None = None,
        model: str | None = None,
        detector: str | None = None,
        wanted: DetectionOptions = ALL_FACES,
        deadline: Deadline = NEVER,
    ) -> Analysis:
        """The whole answer for one picture file; nothing is stored.

        Images that have more than `max_pixels` together are analysed one after the other. Raises
        DeadlineExceeded and the errors of `ImageFile`, `pipeline` and `Pipeline.run`, and
        ImageTooLarge.
        """
        if len(data) > self._max_image_bytes:
            raise ImageTooLarge(
                f"the picture has {len(data):,} bytes, "
                f"more than the {self._max_image_bytes:,} that are allowed"
            )
        chosen = self.pipeline(pipeline, model, detector, wanted)
        stopwatch = Stopwatch()
        file = ImageFile(data, max_pixels=self._max_pixels)
        # Decoding takes up to 17 bytes a pixel: two of the largest images would take 2 GB at once.
        with self._pixels.reserve(file.pixels, deadline=deadline):
            answer = chosen.run(file, stopwatch, deadline)
        width, height = answer.size_wh
        return Analysis(
            file_name=file_name,
            threshold=threshold,
            width=width,
            height=height,
            faces=answer.faces,
            model=chosen.model,
            detector=chosen.detector_name,
            dropped=answer.dropped,
            timings_ms=stopwatch.timings_ms,
            rotation=answer.rotation,
        )

    def pipeline(
        self,
        name: str | None = None,
        model: str | None = None,
        detector: str | None = None,
        wanted: DetectionOptions = ALL_FACES,
    ) -> Pipeline:
        """The pipeline of that name with these parts, the defaults where None.

        Raises UnknownPipeline and what `Pipeline.of` raises.
        """
        name = self.default_pipeline if name is None else name
        if name not in PIPELINES:
            raise UnknownPipeline(name, PIPELINES)
        wanted = replace(wanted, max_faces=min(wanted.max_faces, self._max_faces))
        return PIPELINES[name].of(self, model, detector, wanted)

    def classifier(self, name: str | None) -> Classifier:
        """Raises what `ModelRegistry.get` raises."""
        return self._classifiers.get(name)

    def single_shot(self, name: str | None) -> SingleShotNet:
        """Raises what `ModelRegistry.get` raises."""
        return self._single_shots.get(name)

    def detector(self, name: str | None) -> Detector:
        """Raises UnknownDetector, or ModelUnavailable where its weights are missing or broken."""
        name = self.default_detector if name is None else name
        if (loaded := self._detectors.loaded(name)) is not None:
            return loaded
        if name not in DETECTORS:
            raise UnknownDetector(name, DETECTORS)
        return self._detectors.load(
            name, self._folders.state(name), lambda: self._load_detector(name)
        )

    def _load_detector(self, name: str) -> Detector:
        made, models_dir = DETECTORS[name], self._folders.models_dir
        if made is SingleShotDetector:  # shares the network of the pipeline
            SingleShotDetector.folder(models_dir)
            return SingleShotDetector(self.single_shot(name))
        return made.load(models_dir, threads=self._onnx_threads)

    def warm(self) -> None:
        """Load the defaults and run them once. A failure is kept for `problem`, not raised:
        the process lives on, serves what it can and says that it is not ready. Call it again
        once the cause is mended. Slow checks of other models do not delay the start."""
        self._folders.refresh()
        try:
            self.pipeline().warm()
        except EmotionError as error:
            log.error("not ready: %s", error)
            self._problem = str(error)
        else:
            self._warm, self._problem = True, None
        self.models(wait=WARM_WAIT_SECONDS)

    @property
    def problem(self) -> str | None:
        """Why this engine cannot serve its defaults yet; None when it can."""
        if self._warm:
            return None
        return self._problem or "the model is not loaded yet"

    @property
    def unusable(self) -> dict[str, str]:
        """Models that cannot be used, and what is wrong with them."""
        return {
            status.name: status.problem
            for status in self.models(wait=0)
            if status.problem and status.problem != BEING_CHECKED
        }

    def models(self, wait: float | None = WAIT_SECONDS) -> list[ModelStatus]:
        """Every model folder, by name, as it was on the disk at most a second ago. `wait`: see
        `ModelRegistry.statuses`."""
        statuses = [*self._classifiers.statuses(wait), *self._single_shots.statuses(wait)]
        return sorted(statuses, key=lambda status: status.name)

    def detectors(self) -> dict[str, str | None]:
        """What is wrong with each detector, None where it can be used."""
        problems: dict[str, str | None] = {}
        for name in DETECTORS:
            try:
                self.detector(name)
                problems[name] = None
            except ModelUnavailable as error:
                problems[name] = str(error)
        return problems
