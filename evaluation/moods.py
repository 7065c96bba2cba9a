"""Scenes of groups whose mood is known, made of held-out faces; and how near an answer comes.

A scene is made from its number alone. Its mood is the label of most of its faces, which says
nothing of their sizes and places: every face counts alike in the truth.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import cv2
import numpy as np
from numpy.typing import NDArray

from app.vision.mood import mood_of
from app.vision.types import Box, Face, Scores
from evaluation.expressions import Shot, Truth
from training.data.damage import without_colors
from training.data.marked_images import MarkedImage
from training.data.pasting import free_corner, paste, tinted
from training.data.scenes import Sources
from training.votes import LABELS

SIDE = 640
FEWEST_FACES = 50  # held-out ones that a mood needs
CLEAR = 0.5  # more of the votes than this make a face's label
GROUPS = {"2–4": (2, 4), "5–9": (5, 9), "10–20": (10, 20)}
SIDES = ((24.0, 200.0), (12.0, 200.0), (12.0, 60.0))  # one for each scene, drawn log-uniformly
OWN_SHARE = (0.4, 1.0)  # of the faces, that show the scene's mood
TINY = 24.0  # pixels of the longer side, and fewer are tiny
TINY_SHARES = {"none": (0.0, 0.0), "up to a third": (0.0, 1 / 3), "more": (1 / 3, 1.0)}
HARMED_SHARE = 0.3  # of the faces are blurred and noisy
BLUR, NOISE = (0.02, 0.06), (4.0, 20.0)  # sigma as a share of the face's side; in grey values
GRAY_SHARE = 0.5
QUALITY = 92  # of the scenes' JPEG


@dataclass(frozen=True)
class Scene:
    """`file` is a JPEG; `mean_label` (labels,) the mean of what people say of its faces."""

    file: bytes
    truth: Truth
    mood: str
    mean_label: NDArray[np.float64]

    @property
    def faces(self) -> int:
        return len(self.truth.faces)

    @property
    def tiny_share(self) -> float:
        return float(np.mean([box.longer_side < TINY for box, _ in self.truth.faces]))


@dataclass(frozen=True)
class Cast:
    """Faces by label, for the labels of which there are enough, and photographs without faces."""

    faces: dict[str, list[MarkedImage]]
    grounds: Sequence[MarkedImage]

    @classmethod
    def of(cls, sources: Sources) -> "Cast":
        faces: dict[str, list[MarkedImage]] = {label: [] for label in LABELS}
        for picture in (*sources.crops.images, *sources.portraits.images):
            if picture.targets[0].max() > CLEAR:
                faces[LABELS[int(picture.targets[0].argmax())]].append(picture)
        enough = {label: its for label, its in faces.items() if len(its) >= FEWEST_FACES}
        return cls(enough, sources.empty.images)


def scene(cast: Cast, number: int, *, seed: int = 0) -> Scene:
    """The scene of that number: moods and sizes of groups take turns."""
    moods = list(cast.faces)
    mood = moods[number % len(moods)]
    low, high = list(GROUPS.values())[number // len(moods) % len(GROUPS)]
    for attempt in count():
        generator = np.random.default_rng((seed, number, attempt))
        labels = _labels(moods, mood, int(generator.integers(low, high + 1)), generator)
        if (made := _composed(cast, labels, mood, generator)) is not None:
            return made
    raise AssertionError("unreachable")


def _labels(
    moods: Sequence[str], mood: str, number: int, generator: np.random.Generator
) -> list[str]:
    """So many labels, of which more are `mood` than any other."""
    own = math.ceil(number * generator.uniform(*OWN_SHARE))
    while (len(moods) - 1) * (own - 1) < number - own:
        own += 1
    room = [label for label in moods if label != mood for _ in range(own - 1)]
    others = generator.permutation(len(room))[: number - own]
    return [mood] * own + [room[index] for index in others]


def _composed(
    cast: Cast, labels: Sequence[str], mood: str, generator: np.random.Generator
) -> Scene | None:
    """None where the faces found no room."""
    image = _ground(cast.grounds[int(generator.integers(len(cast.grounds)))].image, generator)
    gray = generator.random() < GRAY_SHARE
    if gray:
        image = without_colors(image)
    low, high = SIDES[generator.integers(len(SIDES))]
    sides = np.exp(generator.uniform(math.log(low), math.log(high), len(labels)))
    boxes = np.zeros((0, 4), np.float32)
    targets = []
    # The largest first, for they need most room; who they show has nothing to do with it.
    for label, side in zip(generator.permutation(labels), -np.sort(-sides), strict=True):
        picture = cast.faces[str(label)][generator.integers(len(cast.faces[str(label)]))]
        face, box = _sized(picture, float(side), generator)
        corner = free_corner(box, boxes, SIDE, generator)
        if corner is None:
            return None
        colored = np.repeat(face[..., None], 3, axis=2) if gray else tinted(face, generator)
        paste(image, colored, *corner, generator)
        placed = np.clip(box + np.tile(corner, 2), 0, SIDE)
        boxes = np.concatenate([boxes, placed[None].astype(np.float32)])
        targets.append((str(label), picture.targets[0]))
    faces = tuple(
        (Box(*box), label) for box, (label, _) in zip(boxes.tolist(), targets, strict=True)
    )
    _, file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    mean_label = np.mean([target for _, target in targets], axis=0, dtype=float)
    return Scene(file.tobytes(), Truth(faces), mood, mean_label)


def _ground(image: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """A square of a photograph, as large as it has, (SIDE, SIDE, 3)."""
    part = min(image.shape[:2])
    top = int(generator.integers(image.shape[0] - part + 1))
    left = int(generator.integers(image.shape[1] - part + 1))
    square = image[top : top + part, left : left + part]
    resample = cv2.INTER_AREA if part > SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (SIDE, SIDE), interpolation=resample), np.uint8)


def _sized(
    picture: MarkedImage, side: float, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The grey picture with a face of that longer side, a part of them harmed, and its box."""
    x1, y1, x2, y2 = picture.boxes[0]
    scale = side / max(x2 - x1, y2 - y1)
    size_wh = tuple(max(2, round(length * scale)) for length in picture.image.shape[1::-1])
    resample = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    face = np.asarray(cv2.resize(picture.image, size_wh, interpolation=resample), np.uint8)
    if generator.random() < HARMED_SHARE:
        sigma = max(0.3, side * generator.uniform(*BLUR))
        grain = generator.normal(0, generator.uniform(*NOISE), face.shape)
        blurred = cv2.GaussianBlur(face, (0, 0), sigma)
        face = np.clip(blurred + grain, 0, 255).astype(np.uint8)
    box = picture.boxes[0] * scale
    if generator.random() < 0.5:
        face = np.ascontiguousarray(face[:, ::-1])
        box = np.array((size_wh[0] - box[2], box[1], size_wh[0] - box[0], box[3]), np.float32)
    return face, np.asarray(box, np.float32)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which faces an answer is made of."""

    name: str
    min_face_px: float = 0.0
    min_confidence: float = 0.0


@dataclass(frozen=True)
class Answers:
    """Of one system, aggregator and filter, for each scene: whether the mood is right, which it is
    not where there is none, and how far the distribution is from the mean label: half of the sum of
    the differences, 1 where there is none."""

    right: NDArray[np.float64]
    distance: NDArray[np.float64]


def answers(
    found: Sequence[Shot], scenes: Sequence[Scene], aggregator: str, kept: Filter
) -> Answers:
    right, distance = [], []
    for shot, made in zip(found, scenes, strict=True):
        mood = mood_of(
            shot.analysis.faces,
            aggregator,
            min_face_px=kept.min_face_px,
            min_confidence=kept.min_confidence,
        )
        right.append(mood.mood == made.mood)
        shown = np.array([mood.distribution.get(label, 0.0) for label in LABELS])
        apart = np.abs(shown - made.mean_label).sum() / 2
        distance.append(apart if mood.mood is not None else 1.0)
    return Answers(np.array(right, float), np.array(distance))


def perfect(scenes: Sequence[Scene], aggregator: str) -> NDArray[np.float64]:
    """Whether an aggregator is right of the truth itself: every face found, in its place, its label
    sure. What it lacks to 1 is not for detectors and classifiers to mend."""
    right = []
    for made in scenes:
        faces = [
            Face(box, Scores({label: float(label == shows) for label in LABELS}), 1.0)
            for box, shows in made.truth.faces
        ]
        right.append(mood_of(faces, aggregator).mood == made.mood)
    return np.array(right, float)


def by_group(scenes: Sequence[Scene]) -> dict[str, NDArray[np.bool_]]:
    """Which scenes have so many faces."""
    faces = np.array([each.faces for each in scenes])
    return {name: (low <= faces) & (faces <= high) for name, (low, high) in GROUPS.items()}


def by_tiny_share(scenes: Sequence[Scene]) -> dict[str, NDArray[np.bool_]]:
    """Which scenes have tiny faces as such a share of all."""
    shares = np.array([each.tiny_share for each in scenes])
    return {
        name: (shares == 0) if high == 0 else (low < shares) & (shares <= high)
        for name, (low, high) in TINY_SHARES.items()
    }


def moods_of(scenes: Sequence[Scene]) -> Counter[str]:
    return Counter(each.mood for each in scenes)
