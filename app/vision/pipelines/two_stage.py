"""Find the faces, then name their emotions: a detector in front of a classifier."""

from collections import Counter
from collections.abc import Iterable

from app.vision.classifier import Classifier
from app.vision.detectors import Detector
from app.vision.image import ImageFile, Raster
from app.vision.stopwatch import Stopwatch
from app.vision.types import Detection, Face, Wanted


class TwoStage:
    def __init__(self, detector: Detector, classifier: Classifier, wanted: Wanted) -> None:
        self.detector = detector
        self.classifier = classifier
        self._wanted = wanted

    def run(
        self, file: ImageFile, stopwatch: Stopwatch
    ) -> tuple[Raster, tuple[Face, ...], Counter[str]]:
        """What was read of the file, the wanted faces, largest first, and how many others were
        found, by the name of the wish that they do not fulfil.

        All faces go through the network as one batch. Equal sizes are ordered from the left and
        the top, so the answer never depends on the detector's order.
        """
        min_face_px = self._wanted.min_face_px
        if min_face_px is None:
            min_face_px = self.detector.min_face_share * file.longer_side
        with stopwatch("decode"):
            raster = file.read(
                scale=min(1.0, self._scale_for(file.longer_side, min_face_px)),
                color=self.detector.needs_color,
            )
        with stopwatch("detect"):
            found = self.detector.detect(raster, min_face_px)
            kept, dropped = _choose(found, min_face_px, self._wanted)
        with stopwatch("classify"):
            boxes = [each.box.scaled(raster.scale) for each in kept]
            emotions = self.classifier.classify(
                raster.gray, boxes, box_scale=self.detector.box_scale
            )
        faces = tuple(
            Face(each.box, probabilities, each.score)
            for each, probabilities in zip(kept, emotions, strict=True)
        )
        return raster, faces, dropped

    def _scale_for(self, longer_side: int, min_face_px: float) -> float:
        """The pixels for one of the original's that the smallest wanted face needs, to be found
        and to fill the classifier's crop."""
        card = self.classifier.card
        crop_px = min_face_px * self.detector.box_scale * card.crop_scale
        classifier_scale = card.input_size / crop_px if crop_px else 1.0
        return max(self.detector.scale_for(longer_side, min_face_px), classifier_scale)


def _choose(
    found: Iterable[Detection], min_face_px: float, wanted: Wanted
) -> tuple[list[Detection], Counter[str]]:
    kept: list[Detection] = []
    dropped = Counter(min_face_px=0, min_confidence=0, max_faces=0)
    for each in sorted(found, key=lambda each: (-each.box.area, each.box.xyxy)):
        if each.box.longer_side < min_face_px:
            dropped["min_face_px"] += 1
        elif each.score is not None and each.score < wanted.min_confidence:
            dropped["min_confidence"] += 1
        elif len(kept) >= wanted.max_faces:
            dropped["max_faces"] += 1
        else:
            kept.append(each)
    return kept, dropped
