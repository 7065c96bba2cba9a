"""Loads models, detectors and pipelines by name, and analyses images with them."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from app.vision.detectors import DETECTORS, Detector
from app.vision.detectors.single_shot import SingleShotDetector
from app.vision.folders import ModelFolders
from app.vision.image import ImageFile
from app.vision.kinds import KINDS
from app.vision.pipelines import PIPELINES, Pipeline
from app.vision.pipelines.two_stage import TwoStage
from app.vision.registry import WAIT_SECONDS, LoadOnce, ModelRegistry, ModelStatus
from app.vision.request import AnalysisOptions, AnalysisRequest, ImageData
from app.vision.stopwatch import Stopwatch
from app.vision.types import Analysis

log = logging.getLogger(__name__)

WARM_WAIT_SECONDS = 0.5  # time that `warm_up` waits for the model checks of each kind


class Engine:
    """Analyses images. Thread-safe: one engine serves all threads of a process.

    The constructor loads nothing and changes no state of the process. Do not use an engine before a
    fork. A process that uses an engine sets the number of OpenCV threads when it starts
    (`cv2.setNumThreads`).
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
    ) -> None:
        self.default_detector = detector
        self.default_pipeline = pipeline
        self._folders = ModelFolders(models_dir)
        # For every other kind, the default model has the same name as the kind.
        self._registries = {
            kind.name: ModelRegistry(
                self._folders,
                kind,
                default=model if kind.name == CLASSIFIER else kind.name,
                threads=onnx_threads,
            )
            for kind in KINDS.values()
            if kind.selectable
        }
        self._onnx_threads = onnx_threads
        self._max_image_bytes = max_image_bytes
        self._max_pixels = max_pixels
        self._pixels = Budget(max_pixels)  # total pixels of concurrent analyses
        self._max_faces = max_faces
        self._detectors: LoadOnce[Detector] = LoadOnce()
        self._is_warm = False
        self._problem: str | None = None

    def analyse(self, request: AnalysisRequest[ImageData], deadline: Deadline = NEVER) -> Analysis:
        """Analyse an image without storing the result.

        The images that are analysed at the same time have at most `max_pixels` in total; further
        calls wait. Raises ImageTooLarge, DeadlineExceeded, and the errors of `ImageFile`,
        `pipeline` and `Pipeline.run`.
        """
        data = request.image.data
        if len(data) > self._max_image_bytes:
            raise ImageTooLarge(
                f"the image has {len(data):,} bytes, more than the {self._max_image_bytes:,} "
                "allowed: send a smaller file"
            )
        pipeline = self.pipeline(request.options)
        stopwatch = Stopwatch()
        file = ImageFile(data, max_pixels=self._max_pixels)
        # Decoding takes up to 17 bytes per pixel: two images of the maximum size would take 2 GB.
        with self._pixels.reserve(file.pixels, deadline=deadline):
            result = pipeline.run(file, stopwatch, deadline)
        width, height = result.size_wh
        return Analysis(
            file_name=request.image.file_name,
            threshold=request.options.threshold,
            width=width,
            height=height,
            faces=result.faces,
            persons=result.persons,
            frame=request.frame,
            model=pipeline.model,
            detector=pipeline.detector_name,
            dropped=result.dropped,
            timings_ms=stopwatch.timings_ms,
            rotation=result.rotation,
        )

    def pipeline(self, options: AnalysisOptions) -> Pipeline:
        """Return the pipeline of `options`, with the model and the detector.

        Raises UnknownPipeline and the errors of `Pipeline.create`.
        """
        name = self.default_pipeline if options.pipeline is None else options.pipeline
        if name not in PIPELINES:
            raise UnknownPipeline(name, PIPELINES)
        detection = options.detection
        detection = replace(detection, max_faces=min(detection.max_faces, self._max_faces))
        return PIPELINES[name].create(self, replace(options, detection=detection))

    def model(self, kind: str, name: str | None = None) -> Any:
        """Return the model of this kind and name, loaded by the loader of the kind. None means the
        default model of the kind. Raises the errors of `ModelRegistry.get`."""
        return self._registries[kind].get(name)

    def detector(self, name: str | None) -> Detector:
        """Return the detector with this name; None means the default detector. Raises
        UnknownDetector, and ModelUnavailable if the weights are missing or broken."""
        name = self.default_detector if name is None else name
        if (loaded := self._detectors.loaded(name)) is not None:
            return loaded
        if name not in DETECTORS:
            raise UnknownDetector(name, DETECTORS)
        return self._detectors.load(
            name, self._folders.state(name), lambda: self._load_detector(name)
        )

    def _load_detector(self, name: str) -> Detector:
        detector_class, models_dir = DETECTORS[name], self._folders.models_dir
        if detector_class is SingleShotDetector:  # shares the network of the pipeline
            SingleShotDetector.folder(models_dir)
            return SingleShotDetector(self.model(SINGLE_SHOT, name))
        return detector_class.load(models_dir, threads=self._onnx_threads)

    def warm_up(self) -> None:
        """Load the default pipeline and run it once.

        Does not raise a failure, because the process can serve other models: `problem` returns the
        failure. `warm_up` can be called again after the repair. Slow checks of other models do not
        delay the start.
        """
        self._folders.refresh()
        try:
            self.pipeline(AnalysisOptions()).warm_up()
        except EmotionError as error:
            log.error("not ready: %s", error)
            self._problem = str(error)
        else:
            self._is_warm, self._problem = True, None
        self.models(wait=WARM_WAIT_SECONDS)  # starts the checks of all models

    @property
    def problem(self) -> str | None:
        """The reason why the default pipeline is not ready; None if it is ready."""
        if self._is_warm:
            return None
        return self._problem or "the model is not loaded yet"

    @property
    def unusable(self) -> dict[str, str]:
        """The unusable models: a mapping from the name of the model to the problem."""
        return {
            status.name: status.problem
            for status in self.models(wait=0)
            if status.problem and status.is_checked
        }

    def models(self, wait: float | None = WAIT_SECONDS) -> list[ModelStatus]:
        """Return the status of every model folder, sorted by name and at most one second old.
        `wait`: see `ModelRegistry.statuses`."""
        statuses = [
            status for registry in self._registries.values() for status in registry.statuses(wait)
        ]
        return sorted(statuses, key=lambda status: status.name)

    def detectors(self) -> dict[str, str | None]:
        """Check all detectors. Return a mapping from the name of the detector to the problem, which
        is None for a detector that can be used."""
        problems: dict[str, str | None] = {}
        for name in DETECTORS:
            try:
                self.detector(name)
                problems[name] = None
            except ModelUnavailable as error:
                problems[name] = str(error)
        return problems
