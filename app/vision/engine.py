"""Builds, caches and warms what a request names, and says when it is ready."""

import logging
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from app.errors import EmotionError, ImageTooLarge, ModelUnavailable, UnknownDetector, UnknownModel
from app.vision.card import ModelCard, classifier_folders, read_card, read_weights
from app.vision.classifier import Classifier
from app.vision.detectors import DETECTORS, Detector
from app.vision.image import ImageFile, Raster
from app.vision.pipelines.two_stage import TwoStage
from app.vision.stopwatch import Stopwatch
from app.vision.types import Analysis, Wanted

log = logging.getLogger(__name__)

ALL_FACES = Wanted()


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A model folder: its card when it can be used, otherwise what is wrong with it."""

    name: str
    card: ModelCard | None
    problem: str | None


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
        max_image_bytes: int,
        max_pixels: int,
        max_faces: int,
        onnx_threads: int = 1,
        opencv_threads: int = 1,
    ) -> None:
        self.default_model = model
        self.default_detector = detector
        self._models_dir = models_dir
        self._max_image_bytes = max_image_bytes
        self._max_pixels = max_pixels
        self._max_faces = max_faces
        self._onnx_threads = onnx_threads
        cv2.setNumThreads(opencv_threads)  # of the whole process; OpenCV knows no smaller scope
        self._lock = threading.Lock()
        self._classifiers: dict[str, Classifier] = {}
        self._detectors: dict[str, Detector] = {}
        self._sound: set[tuple[object, ...]] = set()  # what has been seen to run: see _claims
        self._warm = False
        self._problem: str | None = None
        self.unusable: dict[str, str] = {}
        """Models that were broken when they were last looked at, and what is wrong with them."""

    def analyse(
        self,
        data: bytes,
        *,
        file_name: str,
        threshold: float,
        model: str | None = None,
        detector: str | None = None,
        wanted: Wanted = ALL_FACES,
    ) -> Analysis:
        """The whole answer for one picture file; nothing is stored.

        Raises the errors of `ImageFile` and `pipeline`, and ImageTooLarge.
        """
        if len(data) > self._max_image_bytes:
            raise ImageTooLarge(
                f"the picture has {len(data):,} bytes, "
                f"more than the {self._max_image_bytes:,} that are allowed"
            )
        pipeline = self.pipeline(model, detector, wanted)
        stopwatch = Stopwatch()
        file = ImageFile(data, max_pixels=self._max_pixels)
        raster, faces, dropped = pipeline.run(file, stopwatch)
        width, height = raster.size_wh
        return Analysis(
            file_name=file_name,
            threshold=threshold,
            width=width,
            height=height,
            faces=faces,
            model=pipeline.classifier.card.ref,
            detector=pipeline.detector.name,
            dropped=dropped,
            timings_ms=stopwatch.timings_ms,
        )

    def pipeline(
        self, model: str | None, detector: str | None, wanted: Wanted = ALL_FACES
    ) -> TwoStage:
        """Detector and classifier of these names, the defaults where None.

        Raises the errors of `classifier` and `detector`.
        """
        return TwoStage(
            self.detector(detector or self.default_detector),
            self.classifier(model or self.default_model),
            replace(wanted, max_faces=min(wanted.max_faces, self._max_faces)),
        )

    def classifier(self, name: str) -> Classifier:
        """Raises UnknownModel, or ModelUnavailable when its card or weights are broken or it is
        the default and missing, which is the operator's mistake and not the client's."""
        if (loaded := self._classifiers.get(name)) is not None:
            return loaded  # without waiting for another model that is being loaded
        with self._lock:
            if name not in self._classifiers:
                # Only names that were listed are ever joined to a path.
                if name not in (known := self._model_names()):
                    if name == self.default_model:
                        raise ModelUnavailable(f"the default model {name!r} is not installed")
                    raise UnknownModel(name, known)
                loaded = Classifier.load(self._models_dir / name, threads=self._onnx_threads)
                self._classifiers[name] = loaded
                self._sound.add(_claims(loaded.card))
            return self._classifiers[name]

    def detector(self, name: str) -> Detector:
        """Raises UnknownDetector, or ModelUnavailable where its weights are missing or broken."""
        if (made := self._detectors.get(name)) is not None:
            return made
        with self._lock:
            if name not in DETECTORS:
                raise UnknownDetector(name, DETECTORS)
            if name not in self._detectors:
                self._detectors[name] = DETECTORS[name].load(self._models_dir)
            return self._detectors[name]

    def warm(self) -> None:
        """Load the defaults and run them once. A failure is kept for `problem`, not raised:
        the process lives on, serves what it can and says that it is not ready. Call it again
        once the cause is mended."""
        try:
            classifier = self.classifier(self.default_model)
            size = classifier.card.input_size
            side = 4 * size
            blank = np.zeros((side, side, 3), np.uint8)
            raster = Raster(blank[:, :, 0], (side, side), colors=blank)
            self.detector(self.default_detector).detect(raster, min_face_px=size)
            classifier.predict(blank[np.newaxis, :size, :size, 0])
        except EmotionError as error:
            log.error("not ready: %s", error)
            self._problem = str(error)
        else:
            self._warm, self._problem = True, None
        self.models()
        for name, problem in self.unusable.items():
            log.error("model %r cannot be used: %s", name, problem)

    @property
    def problem(self) -> str | None:
        """Why this engine cannot serve its defaults yet; None when it can."""
        if self._warm:
            return None
        return self._problem or "the model is not loaded yet"

    def models(self) -> list[ModelStatus]:
        """Every model folder, checked as it lies on the disk now: its card, the checksum of its
        weights, and, once for each of these, that they load, fit each other and run."""
        statuses = []
        for name in self._model_names():
            try:
                card = read_card(self._models_dir / name)
                if _claims(card) in self._sound:
                    read_weights(self._models_dir / name, card)
                else:
                    Classifier.load(self._models_dir / name)
                    self._sound.add(_claims(card))
                statuses.append(ModelStatus(name, card, None))
            except ModelUnavailable as error:
                statuses.append(ModelStatus(name, None, str(error)))
        self.unusable = {status.name: status.problem for status in statuses if status.problem}
        return statuses

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

    def _model_names(self) -> list[str]:
        return [folder.name for folder in classifier_folders(self._models_dir)]


def _claims(card: ModelCard) -> tuple[object, ...]:
    """What loading a model puts to the test: weights, and what the card says goes in and out."""
    return card.sha256, card.input_size, len(card.labels)
