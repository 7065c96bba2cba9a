"""What a one-pass network learns from and is measured by while it learns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from app.vision.image import letterbox
from app.vision.types import Box, Detection
from testbed.boxes import Tally, average_precision, iou, tally
from training.config import Config
from training.data.photos import MarkedFace
from training.data.pictures import Picture
from training.data.scenes import Sources, scene
from training.data.sources import (
    Teaching,
    training_sources,
    validation_photographs,
    validation_portraits,
    validation_sources,
)
from training.detection.heads import HEADS, Batch, Find, Head
from training.detection.losses import Marks
from training.learning import Training

EXPRESSION_WEIGHT = 1.0
CALM = 0.15  # of the schedule, its end: without mosaics
WORKERS = 2
AHEAD = 4  # batches
SMALLEST = 20.0  # pixels of faces that count on photographs
MIN_IOU = 0.4
NMS_IOU = 0.45
FEWEST_LOGIT = -3.0
VALIDATION_SCENES = 400
LARGE_SIDE = 640


@dataclass
class Scenes:
    """Scenes to learn from, and the photographs, portraits and scenes of the validation split.

    `seed` and the number of a scene make it. `source` says in words what scenes are made of."""

    sources: Sources
    validation: Sources
    photographs: list[Picture]
    portraits: list[Picture]
    config: Config
    source: str

    curves = {
        "validation_ap": "AP of faces, validation photographs",
        "validation_portraits": "validation portraits found and named right",
        "validation_named": "faces of made scenes named right",
    }
    targets_name = (
        "boxes of people and of YuNet; the expressions that people said, of faces pasted from FER+ "
        "cleaned votes, of photographs the teachers' mean where it is decided"
    )
    loss_name = "objectness, boxes and expressions"

    @property
    def head(self) -> Head:
        return HEADS[self.config.net]

    @property
    def count(self) -> str:
        return f"{self.config.scenes:,} scenes an epoch"

    @property
    def size(self) -> int:
        return self.config.scenes

    @property
    def steps(self) -> int:
        return self.config.scenes // self.config.batch_size

    def to(self, device: torch.device) -> Self:
        """This data: scenes are made on the CPU, and `loss` moves them."""
        return self

    def batches(self, run: Training) -> Iterator[tuple[Tensor, Marks]]:
        """The scenes of an epoch, made by threads while the net learns: OpenCV lets go of Python's
        lock. (It does not survive a fork, so processes are no choice.)"""
        size, first = self.config.batch_size, run.epoch * self.config.scenes
        starts = range(first, first + self.steps * size, size)
        progress = run.progress(run.epoch)
        side = self.config.side_at(progress)
        make = partial(self._batch, side=side, mosaics=progress < 1 - CALM)
        with ThreadPoolExecutor(WORKERS) as pool:
            ahead: deque[Future[tuple[Tensor, Marks]]] = deque()
            for start in starts:
                ahead.append(pool.submit(make, start))
                if len(ahead) > AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _batch(self, start: int, *, side: int, mosaics: bool) -> tuple[Tensor, Marks]:
        numbers = range(start, start + self.config.batch_size)
        seed = self.config.seed
        return collate(
            [scene(self.sources, each, side=side, seed=seed, mosaics=mosaics) for each in numbers]
        )

    def loss(self, run: Training, batch: tuple[Tensor, Marks], left: float) -> Tensor:
        images, marks = batch
        images, marks = images.to(run.device), marks.to(run.device)
        made = Batch(images.float().to(memory_format=torch.channels_last), marks)
        weights = torch.ones(marks.targets.shape[2], device=run.device)
        with torch.autocast(run.device.type, torch.bfloat16):
            losses = self.head.losses(run.net, made, weights, run.generator)
        return losses.total(EXPRESSION_WEIGHT)

    def validate(self, run: Training) -> dict[str, float]:
        """On photographs: AP of sure faces of at least SMALLEST pixels; share of portraits whose
        main face is found and named right; share of the faces of made scenes that are."""
        predict = predictor(run.average)
        found = detections(predict, self.photographs, LARGE_SIDE, self.head.find)
        return {
            "validation_ap": average_precision(tallies(found, self.photographs)),
            "validation_portraits": _share_right(self.named(predict, self.portraits)),
            "validation_named": _share_right(self.named(predict, self.validation_scenes)),
        }

    def named(
        self, predict: Predict, made: Sequence[Picture]
    ) -> list[tuple[NDArray[np.float32] | None, int]]:
        """See `named`, at the side that scenes have."""
        return named(detections(predict, made, self.config.input_size, self.head.find), made)

    @property
    def validation_scenes(self) -> list[Picture]:
        """The same each time."""
        side = self.config.input_size
        return [
            scene(self.validation, number, side=side, seed=0, mosaics=False)
            for number in range(VALIDATION_SCENES)
        ]


def collate(made: Sequence[Picture]) -> tuple[Tensor, Marks]:
    """Images (n, 3, side, side) uint8 and what is true of them, padded to as many faces."""
    most = max(1, *(len(each.boxes) for each in made))
    classes = made[0].targets.shape[1]
    faces, targets = torch.zeros(len(made), most, 4), torch.zeros(len(made), most, classes)
    real, sure = (torch.zeros(len(made), most, dtype=torch.bool) for _ in range(2))
    for row, each in enumerate(made):
        count = len(each.boxes)
        faces[row, :count] = torch.from_numpy(each.boxes)
        targets[row, :count] = torch.from_numpy(each.targets)
        real[row, :count] = True
        sure[row, :count] = torch.from_numpy(each.sure)
    images = torch.from_numpy(np.stack([each.image for each in made])).permute(0, 3, 1, 2)
    return images, Marks(faces, real, sure, targets)


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
    predict: Predict, made: Iterable[Picture], side: int, find: Find
) -> list[list[Found]]:
    """What is found in each picture, letterboxed to `side`, with an uncalibrated score and the
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


def tallies(found: Sequence[list[Found]], photographs: Sequence[Picture]) -> list[Tally]:
    """Which finds are sure faces of at least SMALLEST pixels."""
    return [
        tally(
            [each for each, _ in its],
            _faces(picture),
            min_iou=MIN_IOU,
            counts=lambda face: face.sure and face.box.longer_side >= SMALLEST,
        )
        for its, picture in zip(found, photographs, strict=True)
    ]


def named(
    found: Sequence[list[Found]], made: Sequence[Picture]
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


def _faces(picture: Picture) -> list[MarkedFace]:
    return [
        MarkedFace(Box(*box), bool(sure))
        for box, sure in zip(picture.boxes.tolist(), picture.sure, strict=True)
    ]


def load_scenes(folder: Path, config: Config, taught: bool) -> Scenes:
    """Everything in memory. Without `taught` the teachers are not asked. Raises what
    `training_sources` raises."""
    cv2.setNumThreads(1)  # scenes are made by threads of their own
    teaching = None
    if config.teachers and taught:
        teachers = [Path(each) for each in config.teachers]
        teaching = Teaching(teachers, config.teacher_share, torch.get_num_threads())
    sources = training_sources(folder, teaching, seed=config.seed)
    counts = {name: len(each.pictures) for name, each in vars(sources).items() if name != "views"}
    views = sum(len(each.pictures) for _, each in sources.views)
    return Scenes(
        sources=sources,
        validation=validation_sources(folder),
        photographs=validation_photographs(folder),
        portraits=validation_portraits(folder),
        config=config,
        source=f"scenes made of {views:,} pictures of natural, crowds and lfw-expressions "
        f"({counts['empty']:,} without faces, {counts['portraits']:,} portraits; training splits) "
        f"and of {counts['crops']:,} faces of FER+'s training split that are not in validation",
    )
