"""Measures a one-pass network on the validation split: photographs, portraits and made scenes."""

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
from training.data.marked_images import MarkedImage
from training.data.photos import MarkedFace
from training.data.scenes import scene
from training.data.sources import ValidationImages
from training.detection.heads import HEADS, Find, Head
from training.learning import Training

SMALLEST = 20.0  # pixels of faces that count on photographs
MIN_IOU = 0.4
NMS_IOU = 0.45
FEWEST_LOGIT = -3.0
VALIDATION_SCENES = 400
LARGE_SIDE = 640


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The images of the validation split, and how a network is measured on them.

    Also what all kinds of scenes that a network learns from have in common.
    """

    config: Config
    validation: ValidationImages

    loss_name = "objectness, boxes and expressions"
    curves: ClassVar[dict[str, str]] = {
        "validation_ap": "AP of faces, validation photographs",
        "validation_portraits": "validation portraits found and named right",
        "validation_named": "faces of made scenes named right",
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
    def photographs(self) -> list[MarkedImage]:
        return self.validation.photographs

    @property
    def portraits(self) -> list[MarkedImage]:
        return self.validation.portraits

    def validate(self, run: Training) -> dict[str, float]:
        """On photographs: AP of sure faces of at least SMALLEST pixels; share of portraits whose
        main face is found and named right; share of the faces of made scenes that are."""
        predict = predictor(run.average)
        found = detections(predict, self.photographs, LARGE_SIDE, self.head.find)
        return {
            "validation_ap": average_precision(matches_by_image(found, self.photographs)),
            "validation_portraits": _share_right(self.named(predict, self.portraits)),
            "validation_named": _share_right(self.named(predict, self.validation_scenes)),
        }

    def named(
        self, predict: Predict, made: Sequence[MarkedImage]
    ) -> list[tuple[NDArray[np.float32] | None, int]]:
        """See `named`, at the side that scenes have."""
        return named(detections(predict, made, self.config.input_size, self.head.find), made)

    @property
    def validation_scenes(self) -> list[MarkedImage]:
        """The same each time."""
        side = self.config.input_size
        return [
            scene(self.validation.sources, number, side=side, seed=0, mosaics=False)
            for number in range(VALIDATION_SCENES)
        ]


Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Found = tuple[Detection, NDArray[np.float32]]


def predictor(net: nn.Module) -> Predict:
    """PyTorch's answers for squares (n, side, side, 3) uint8."""
    net.eval()
    device = next(net.parameters()).device

    @torch.no_grad()
    def predict(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = torch.from_numpy(squares).to(device).permute(0, 3, 1, 2).float()
        return np.asarray(net(images).cpu().numpy())

    return predict


def detections(
    predict: Predict, made: Iterable[MarkedImage], side: int, find: Find
) -> list[list[Found]]:
    """What is found in each image, letterboxed to `side`, with an uncalibrated score and the
    logits of the classes; the surest first."""
    everything = []
    for picture in made:
        image = picture.image
        colored = image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        square, factor = letterbox(np.asarray(colored, np.uint8), side)
        answers = predict(square[np.newaxis])[0]
        boxes, logits, names = find(answers, side, min_logit=FEWEST_LOGIT, nms_iou=NMS_IOU)
        scores = 1 / (1 + np.exp(-logits.astype(float)))
        everything.append(
            [
                (Detection(Box(*box), score), row)
                for box, score, row in zip(
                    (boxes / factor).tolist(), scores.tolist(), names, strict=True
                )
            ]
        )
    return everything


def matches_by_image(
    found: Sequence[list[Found]], photographs: Sequence[MarkedImage]
) -> list[Matches]:
    """Which finds are sure faces of at least SMALLEST pixels."""
    return [
        match_faces(
            [each for each, _ in its],
            _faces(picture),
            min_iou=MIN_IOU,
            counts=lambda face: face.sure and face.box.longer_side >= SMALLEST,
        )
        for its, picture in zip(found, photographs, strict=True)
    ]


def named(
    found: Sequence[list[Found]], made: Sequence[MarkedImage]
) -> list[tuple[NDArray[np.float32] | None, int]]:
    """For each face whose expression is known the logits of the find that overlaps it most, None
    where there is none, and its class."""
    pairs = []
    for picture, finds in zip(made, found, strict=True):
        for box, target in zip(picture.boxes, picture.targets, strict=True):
            if target.any():
                truth = Box(*box.tolist())
                best = max(finds, key=lambda each: iou(each[0].box, truth), default=None)
                hit = best is not None and iou(best[0].box, truth) >= MIN_IOU
                pairs.append((best[1] if best and hit else None, int(target.argmax())))
    return pairs


def _share_right(pairs: Sequence[tuple[NDArray[np.float32] | None, int]]) -> float:
    return float(np.mean([each is not None and each.argmax() == label for each, label in pairs]))


def _faces(picture: MarkedImage) -> list[MarkedFace]:
    return [
        MarkedFace(Box(*box), bool(sure))
        for box, sure in zip(picture.boxes.tolist(), picture.sure, strict=True)
    ]
