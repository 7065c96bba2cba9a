"""Synthetic scenes of groups, composed of held-out faces with known labels.

The number of a scene and the seed determine the scene. The mood of a scene is the most common
label of its faces. The sizes and positions of the faces do not depend on the mood.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import cv2
import numpy as np
from numpy.typing import NDArray

from app.vision.types import Box
from evaluation.expressions import Truth
from training.data.annotated_images import AnnotatedImage
from training.data.corruption import without_colors
from training.data.pasting import free_corner, paste, tinted
from training.data.scenes import Sources
from training.ferplus_labels import LABELS

SIDE = 640  # pixels: scenes are square
MIN_FACES_PER_MOOD = 50  # A label with fewer held-out faces is not used as a mood.
MIN_LABEL_SHARE = 0.5  # A face is used if one label has more than this share of the votes.
GROUPS = {"2–4": (2, 4), "5–9": (5, 9), "10–20": (10, 20)}
# Ranges of face sizes in pixels. Each scene has one of them; sizes are drawn log-uniformly.
SIDES = ((24.0, 200.0), (12.0, 200.0), (12.0, 60.0))
MOOD_SHARE = (0.4, 1.0)  # range of the share of faces that show the mood of the scene
TINY = 24.0  # A face with a longer side of fewer pixels is tiny.
TINY_SHARES = {"none": (0.0, 0.0), "up to a third": (0.0, 1 / 3), "more": (1 / 3, 1.0)}
DEGRADED_SHARE = 0.3  # share of the faces that are blurred and noisy
BLUR = (0.02, 0.06)  # range of sigma, as a share of the side of the face
NOISE = (4.0, 20.0)  # range of the standard deviation, in grey levels
GRAY_SHARE = 0.5  # share of the scenes that are grey
QUALITY = 92  # JPEG quality


@dataclass(frozen=True)
class Scene:
    """A JPEG file with its ground truth.

    `mean_label` (labels,) is the mean of the label distributions of the faces.
    """

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
class SceneMaterial:
    """Faces by label, and background images without faces."""

    faces: dict[str, list[AnnotatedImage]]
    backgrounds: Sequence[AnnotatedImage]

    @classmethod
    def of(cls, sources: Sources) -> "SceneMaterial":
        """Collect the faces of labels that have at least MIN_FACES_PER_MOOD faces."""
        by_label: dict[str, list[AnnotatedImage]] = {label: [] for label in LABELS}
        for face in (*sources.crops.images, *sources.portraits.images):
            if face.targets[0].max() > MIN_LABEL_SHARE:
                by_label[LABELS[int(face.targets[0].argmax())]].append(face)
        common = {
            label: faces for label, faces in by_label.items() if len(faces) >= MIN_FACES_PER_MOOD
        }
        return cls(common, sources.empty.images)


def scene(material: SceneMaterial, number: int, *, seed: int = 0) -> Scene:
    """Compose the scene with this number. Moods and sizes of groups alternate."""
    moods = list(material.faces)
    mood = moods[number % len(moods)]
    low, high = list(GROUPS.values())[number // len(moods) % len(GROUPS)]
    for attempt in count():
        generator = np.random.default_rng((seed, number, attempt))
        labels = _labels(moods, mood, int(generator.integers(low, high + 1)), generator)
        if (composed := _composed(material, labels, mood, generator)) is not None:
            return composed
    raise AssertionError("unreachable")


def _labels(
    moods: Sequence[str], mood: str, number: int, generator: np.random.Generator
) -> list[str]:
    """`number` labels. `mood` is more common than any other label."""
    count_of_mood = math.ceil(number * generator.uniform(*MOOD_SHARE))
    while (len(moods) - 1) * (count_of_mood - 1) < number - count_of_mood:
        count_of_mood += 1
    pool = [label for label in moods if label != mood for _ in range(count_of_mood - 1)]
    drawn = generator.permutation(len(pool))[: number - count_of_mood]
    return [mood] * count_of_mood + [pool[index] for index in drawn]


def _composed(
    material: SceneMaterial, labels: Sequence[str], mood: str, generator: np.random.Generator
) -> Scene | None:
    """The scene, or None if the faces do not fit into it."""
    background = material.backgrounds[int(generator.integers(len(material.backgrounds)))].image
    image = _square(background, generator)
    gray = generator.random() < GRAY_SHARE
    if gray:
        image = without_colors(image)
    low, high = SIDES[generator.integers(len(SIDES))]
    sides = np.exp(generator.uniform(math.log(low), math.log(high), len(labels)))
    boxes = np.zeros((0, 4), np.float32)
    targets = []
    # Place the largest faces first because they need most room. Labels are assigned at random.
    for label, side in zip(generator.permutation(labels), -np.sort(-sides), strict=True):
        source = material.faces[str(label)][generator.integers(len(material.faces[str(label)]))]
        face, box = _sized(source, float(side), generator)
        corner = free_corner(box, boxes, SIDE, generator)
        if corner is None:
            return None
        colored = np.repeat(face[..., None], 3, axis=2) if gray else tinted(face, generator)
        paste(image, colored, *corner, generator)
        placed = np.clip(box + np.tile(corner, 2), 0, SIDE)
        boxes = np.concatenate([boxes, placed[None].astype(np.float32)])
        targets.append((str(label), source.targets[0]))
    faces = tuple(
        (Box(*box), label) for box, (label, _) in zip(boxes.tolist(), targets, strict=True)
    )
    _, file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    mean_label = np.mean([target for _, target in targets], axis=0, dtype=float)
    return Scene(file.tobytes(), Truth(faces), mood, mean_label)


def _square(image: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """The largest square of an image at a random position, resized to (SIDE, SIDE, 3)."""
    part = min(image.shape[:2])
    top = int(generator.integers(image.shape[0] - part + 1))
    left = int(generator.integers(image.shape[1] - part + 1))
    square = image[top : top + part, left : left + part]
    resample = cv2.INTER_AREA if part > SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(square, (SIDE, SIDE), interpolation=resample), np.uint8)


def _sized(
    source: AnnotatedImage, side: float, generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Resize a grey image so that the longer side of its face has `side` pixels.

    A share of the faces is degraded, and half of them are mirrored. Return the image and the box
    of the face.
    """
    x1, y1, x2, y2 = source.boxes[0]
    scale = side / max(x2 - x1, y2 - y1)
    size_wh = tuple(max(2, round(length * scale)) for length in source.image.shape[1::-1])
    resample = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    face = np.asarray(cv2.resize(source.image, size_wh, interpolation=resample), np.uint8)
    if generator.random() < DEGRADED_SHARE:
        sigma = max(0.3, side * generator.uniform(*BLUR))
        grain = generator.normal(0, generator.uniform(*NOISE), face.shape)
        blurred = cv2.GaussianBlur(face, (0, 0), sigma)
        face = np.clip(blurred + grain, 0, 255).astype(np.uint8)
    box = source.boxes[0] * scale
    if generator.random() < 0.5:
        face = np.ascontiguousarray(face[:, ::-1])
        box = np.array((size_wh[0] - box[2], box[1], size_wh[0] - box[0], box[3]), np.float32)
    return face, np.asarray(box, np.float32)
