"""Validation of single-shot networks on photographs, portraits and composed scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from app.vision.image import letterbox
from app.vision.types import Box, Detection
from testbed.boxes import Matches, average_precision, iou, match_faces
from training.config import Config
from training.data.annotated_images import AnnotatedImage
from training.data.photos import AnnotatedFace
from training.data.scenes import scene
from training.data.sources import ValidationImages
from training.detection.heads import HEADS, Find, Head
from training.protocols import RunState

MIN_FACE_SIDE = 20.0  # pixels; smaller faces of photographs are ignored
MIN_IOU = 0.4
NMS_IOU = 0.45
MIN_LOGIT = -3.0
VALIDATION_SCENES = 400
LARGE_SIDE = 640


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The validation split and the figures on it. Base class of the training data of single-shot
    networks."""

    config: Config
    validation: ValidationImages

    loss_name = "objectness, boxes and expressions"
    curves: ClassVar[dict[str, str]] = {
        "validation_ap": "AP of faces, validation photographs",
        "validation_portraits": "validation portraits detected and classified correctly",
        "validation_named": "faces of composed scenes classified correctly",
    }

    @property
    def size(self) -> int:
        return self.config.scenes

    @property
    def steps(self) -> int:
        return self.config.scenes // self.config.batch_size

    @property
    def head(self) -> Head:
        return HEADS[self.config.net]

    @property
    def photographs(self) -> list[AnnotatedImage]:
        return self.validation.photographs

    @property
    def portraits(self) -> list[AnnotatedImage]:
        return self.validation.portraits

    def validate(self, run: RunState) -> dict[str, float]:
        """Return the average precision on photographs, and the shares of portraits and of faces in
        composed scenes that are detected and classified correctly."""
        predict = predictor(run.average)
        found = detections(predict, self.photographs, LARGE_SIDE, self.head.find)
        return {
            "validation_ap": average_precision(matches_by_image(found, self.photographs)),
            "validation_portraits": _share_correct(
                self.matched_expressions(predict, self.portraits)
            ),
            "validation_named": _share_correct(
                self.matched_expressions(predict, self.validation_scenes)
            ),
        }

    def matched_expressions(
        self, predict: Predict, images: Sequence[AnnotatedImage]
    ) -> list[tuple[NDArray[np.float32] | None, int]]:
        """See the function `matched_expressions`. The images are scaled to the size of scenes."""
        found = detections(predict, images, self.config.input_size, self.head.find)
        return matched_expressions(found, images)

    @property
    def validation_scenes(self) -> list[AnnotatedImage]:
        """Compose the validation scenes, which are always the same."""
        side = self.config.input_size
        return [
            scene(self.validation.sources, number, side=side, seed=0, mosaics=False)
            for number in range(VALIDATION_SCENES)
        ]


Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Found = tuple[Detection, NDArray[np.float32]]


def predictor(net: nn.Module) -> Predict:
    """Return a function that computes the outputs for squares (n, side, side, 3) uint8."""
    net.eval()
    device = next(net.parameters()).device

    @torch.no_grad()
    def predict(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = torch.from_numpy(squares).to(device).permute(0, 3, 1, 2).float()
        return np.asarray(net(images).cpu().numpy())

    return predict


def detections(
    predict: Predict, images: Iterable[AnnotatedImage], side: int, find: Find
) -> list[list[Found]]:
    """Detect faces in each image, letterboxed to `side`. Return the detections with uncalibrated
    scores and the class logits, in descending order of the score."""
    results = []
    for annotated in images:
        image = annotated.image
        colored = image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        square, factor = letterbox(np.asarray(colored, np.uint8), side)
        outputs = predict(square[np.newaxis])[0]
        boxes, logits, class_logits = find(outputs, side, min_logit=MIN_LOGIT, nms_iou=NMS_IOU)
        scores = 1 / (1 + np.exp(-logits.astype(float)))
        results.append(
            [
                (Detection(Box(*box), score), row)
                for box, score, row in zip(
                    (boxes / factor).tolist(), scores.tolist(), class_logits, strict=True
                )
            ]
        )
    return results


def matches_by_image(
    found: Sequence[list[Found]], photographs: Sequence[AnnotatedImage]
) -> list[Matches]:
    """Compare the detections with the sure faces of at least MIN_FACE_SIDE pixels."""
    return [
        match_faces(
            [each for each, _ in image_found],
            _faces(photograph),
            min_iou=MIN_IOU,
            counts=lambda face: face.sure and face.box.longer_side >= MIN_FACE_SIDE,
        )
        for image_found, photograph in zip(found, photographs, strict=True)
    ]


def matched_expressions(
    found: Sequence[list[Found]], images: Sequence[AnnotatedImage]
) -> list[tuple[NDArray[np.float32] | None, int]]:
    """Return the class logits and the class of each face with a known expression. The logits are
    those of the detection with the highest overlap, or None if the face was not detected."""
    pairs = []
    for annotated, image_found in zip(images, found, strict=True):
        for box, target in zip(annotated.boxes, annotated.targets, strict=True):
            if target.any():
                truth = Box(*box.tolist())
                best = max(image_found, key=lambda each: iou(each[0].box, truth), default=None)
                hit = best is not None and iou(best[0].box, truth) >= MIN_IOU
                pairs.append((best[1] if best and hit else None, int(target.argmax())))
    return pairs


def _share_correct(pairs: Sequence[tuple[NDArray[np.float32] | None, int]]) -> float:
    return float(np.mean([each is not None and each.argmax() == label for each, label in pairs]))


def _faces(annotated: AnnotatedImage) -> list[AnnotatedFace]:
    return [
        AnnotatedFace(Box(*box), bool(sure))
        for box, sure in zip(annotated.boxes.tolist(), annotated.sure, strict=True)
    ]
