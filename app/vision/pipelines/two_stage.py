"""Find the faces, then name their emotions: a detector in front of a classifier."""

import numpy as np
from numpy.typing import NDArray

from app.vision.classifier import Classifier
from app.vision.detectors import Detector
from app.vision.image import to_gray
from app.vision.stopwatch import Stopwatch
from app.vision.types import Face


class TwoStage:
    def __init__(self, detector: Detector, classifier: Classifier, *, max_faces: int) -> None:
        self.detector = detector
        self.classifier = classifier
        self._max_faces = max_faces

    def run(self, image_bgr: NDArray[np.uint8], stopwatch: Stopwatch) -> tuple[Face, ...]:
        """The faces of a picture, largest first; all of them go through the network as a batch.

        Equal sizes are ordered from the left and the top, so the answer never depends on the
        detector's order.
        """
        with stopwatch("detect"):
            image_gray = to_gray(image_bgr)
            detections = self.detector.detect(image_bgr, image_gray)
            detections.sort(key=lambda found: (-found.box.area, found.box.xyxy))
            detections = detections[: self._max_faces]
        with stopwatch("classify"):
            emotions = self.classifier.classify(image_gray, [found.box for found in detections])
        return tuple(
            Face(found.box, probabilities, found.score)
            for found, probabilities in zip(detections, emotions, strict=True)
        )
