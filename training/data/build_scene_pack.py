"""Build the pack of training scenes for a GPU from the folder of all data.

    python -m training.data.build_scene_pack --data ../shared/data runs/scenes.npz

Uses training splits only. Leaves out portraits that readers labelled and every ExpW image with a
validation face. YuNet marks the faces of ExpW images. A classifier names the expression of every
face, averaged over jittered and mirrored crops; labels of readers and people are mixed with it.
"""

import argparse
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from app.vision.classifier import Classifier, softmax
from app.vision.detectors.yunet import MAX_CANDIDATES, MIN_SCORE, NMS_IOU
from app.vision.image import ImageFile, Raster
from app.vision.types import Box
from testbed.boxes import iou
from training import votes
from training.data import DataError, first_of_each, read_split
from training.data.marked_images import DRAWN_SCALE, FER_FACE, FEWEST_PIXELS, GIVEN_SCALE, SAME_FACE
from training.data.photos import (
    PORTRAITS,
    MarkedFace,
    portraits_with_readings,
    read_photographs,
    read_portraits,
)
from training.data.scene_pack import COLLECTIONS, TILE, ScenePack, joined, sheets
from training.data.sources import FERPLUS, PHOTOS, YUNET
from training.data.wild import WildFace, by_image, read_wild

LABELS = votes.LABELS
# WebP quality and longest side by collection, so that everything fits into 54 MB.
STORED = {
    "natural": (66, 416),
    "empty": (55, 352),
    "crowds": (72, 416),
    "expw": (58, 384),
    "portraits": (70, 192),
}
SHEET_QUALITY = 84
MOST_PORTRAITS = 1200
MOST_CROPS = {"neutral": 2800, "happiness": 2200, "surprise": 2400, "sadness": 3000, "anger": 2400}
# Scale and shift of the jittered crops, in sides of the face.
JITTER = ((1.0, 0.0, 0.0), (0.92, 0.03, 0.0), (1.1, -0.03, 0.02))
READERS_SHARE = 0.75  # of the target of a face that readers labelled; the classifier has the rest
SURE_SCORE = 0.8  # YuNet's, from which on a face must be found
# YuNet's edges from the centre of ExpW's box in sides of it: medians of 635 faces that both find.
TIGHT = (-0.365, -0.447, 0.371, 0.546)
STRIDE = 32  # of YuNet: sides of an image are padded to multiples of it
UNDECIDED = 0.45  # a classifier that is less sure than this says nothing
# The weight of a face in the expression loss, by what its target comes from.
READ_WEIGHT, TAUGHT_WEIGHT, CROP_WEIGHT = 1.5, 0.6, 1.0
_MAX_PIXELS = 50_000_000


Item = TypeVar("Item")


@dataclass(frozen=True)
class Marked:
    """An encoded image with its faces: `boxes` (n, 4), `sure` (n,), `targets` (n, classes) times
    the weight of each face."""

    file: bytes
    collection: str
    boxes: NDArray[np.float32]
    sure: NDArray[np.bool_]
    targets: NDArray[np.float32]


@dataclass(frozen=True)
class Chunk:
    """Every `of`-th item from `first` on, at most `limit`: what one process works on."""

    first: int
    of: int
    limit: int | None

    def __call__(self, items: Iterable[Item]) -> Sequence[Item]:
        return list(items)[self.first :: self.of][: self.limit]


class Teacher:
    """Names expressions by the mean answer for jittered crops and their mirror images."""

    def __init__(self, folder: Path) -> None:
        self._classifier = Classifier.load(folder)

    def __call__(
        self, raster: Raster, boxes: Sequence[Box], box_scale: float
    ) -> NDArray[np.float32]:
        """Distributions (n, classes)."""
        if not boxes:
            return np.zeros((0, len(LABELS)), np.float32)
        jittered = [_jittered(box, *each) for box in boxes for each in JITTER]
        crops = self._classifier.preprocess(raster.gray, jittered, box_scale=box_scale)
        mean = self.answers(crops).reshape(len(boxes), len(JITTER), -1).mean(axis=1)
        return np.asarray(mean, np.float32)

    def answers(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Distributions (n, classes) of crops (n, size, size), mean over crop and mirror image."""
        views = (crops, np.ascontiguousarray(crops[:, :, ::-1]))
        total = sum(softmax(self._classifier.predict(view)) for view in views)
        return np.asarray(total / 2, np.float32)


class Finder:
    """YuNet on an image at its own size: a quarter of the time of a 640-pixel square."""

    def __init__(self, weights: Path) -> None:
        try:
            data = np.frombuffer(weights.read_bytes(), np.uint8)
        except OSError as error:
            raise DataError(f"no {weights}, which finds the faces that nobody marked") from error
        nothing = np.empty(0, np.uint8)
        size = (STRIDE, STRIDE)
        self._net = cv2.FaceDetectorYN.create(
            "onnx", data, nothing, size, MIN_SCORE, NMS_IOU, MAX_CANDIDATES
        )

    def __call__(self, image_bgr: NDArray[np.uint8]) -> list[tuple[Box, float]]:
        height, width = image_bgr.shape[:2]
        right, below = -width % STRIDE, -height % STRIDE
        padded = cv2.copyMakeBorder(image_bgr, 0, below, 0, right, cv2.BORDER_CONSTANT)
        self._net.setInputSize((width + right, height + below))
        _, rows = self._net.detect(padded)
        return [
            (Box(x, y, x + w, y + h), score)
            for x, y, w, h, *_, score in ([] if rows is None else rows.tolist())
        ]


def _jittered(box: Box, scale: float, right: float, down: float) -> Box:
    side = box.longer_side
    x = (box.x1 + box.x2) / 2 + right * side
    y = (box.y1 + box.y2) / 2 + down * side
    width, height = scale * box.width / 2, scale * box.height / 2
    return Box(x - width, y - height, x + width, y + height)


def photographs(
    photos: Path, collection: str, teacher: Teacher, yunet: Finder, chunk: Chunk
) -> Iterator[Marked]:
    """Images of natural and crowds. In crowds people did not mark everybody: a face that only YuNet
    finds counts neither for nor against."""
    for each in chunk(read_photographs(photos, collection, split="train")):
        raster = _read(each.path)
        faces = list(each.faces)
        if collection == "crowds":
            found = [box for box, _ in yunet(raster.bgr)]
            faces += [
                MarkedFace(box, sure=False)
                for box in found
                if all(iou(box, face.box) < SAME_FACE for face in each.faces)
            ]
        named = [
            row
            for row, face in enumerate(faces)
            if face.sure and face.condition in ("", "bare") and _is_large(face.box)
        ]
        scale = DRAWN_SCALE if collection == "crowds" else GIVEN_SCALE
        targets = np.zeros((len(faces), len(LABELS)), np.float32)
        targets[named] = _taught(teacher(raster, [faces[row].box for row in named], scale))
        name = collection if faces else "empty"
        yield _marked(raster, name, [f.box for f in faces], [f.sure for f in faces], targets)


def wild(data: Path, teacher: Teacher, yunet: Finder, chunk: Chunk) -> Iterator[Marked]:
    """ExpW's training images. Where YuNet finds a marked face its box is taken, because the marked
    boxes are loose; a marked face that it does not find must be found if a reader could read it."""
    for path, marked in chunk(by_image(read_wild(data, "train")).items()):
        raster = _read(path)
        found = yunet(raster.bgr)
        boxes = [box for box, _ in found]
        sure = [score >= SURE_SCORE for _, score in found]
        readings: list[tuple[str, ...]] = [()] * len(boxes)
        for face in marked:
            match = max(range(len(found)), key=lambda row: iou(boxes[row], face.box), default=None)
            labels = tuple(reading.label for reading in face.readings)
            clear = [each for each in labels if each in LABELS]
            if match is not None and iou(boxes[match], face.box) >= SAME_FACE:
                sure[match] = sure[match] or bool(clear)
                readings[match] = labels
            else:
                boxes.append(_tight(face))
                sure.append(bool(clear))
                readings.append(labels)
        taught = teacher(raster, boxes, GIVEN_SCALE)
        targets = _taught(taught)
        for row, said in enumerate(readings):
            named = [LABELS.index(each) for each in said if each in LABELS]
            if named:
                read = np.eye(len(LABELS), dtype=np.float32)[named].mean(axis=0)
                share = READERS_SHARE * len(named) / 2
                targets[row] = READ_WEIGHT * (share * read + (1 - share) * taught[row])
            elif said or not sure[row] or not _is_large(boxes[row]):
                targets[row] = 0
        yield _marked(raster, "expw", boxes, sure, targets)


def _tight(face: WildFace) -> Box:
    """YuNet's kind of box for a square that a loose detector marked."""
    box, (left, top, right, bottom) = face.box, TIGHT
    x, y = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
    side = box.longer_side
    return Box(x + left * side, y + top * side, x + right * side, y + bottom * side)


def portraits(photos: Path, teacher: Teacher, chunk: Chunk) -> Iterator[Marked]:
    """Some portraits that no reader labelled, rare expressions first; one person's label counts a
    quarter."""
    validation = portraits_with_readings(photos)
    chosen = []
    said = _portrait_labels(photos)
    for each in read_photographs(photos, PORTRAITS, split="train"):
        if each.path not in validation and each.path in said:
            chosen.append(each)
    order = np.random.default_rng(0).permutation(len(chosen))
    counts: dict[str, int] = {}
    kept = []
    for index in order:
        label = said[chosen[index].path][1]
        counts[label] = counts.get(label, 0) + 1
        if counts[label] <= MOST_PORTRAITS // 2:
            kept.append(chosen[index])
    for each in chunk(kept):
        raster = _read(each.path)
        main, label = said[each.path]
        boxes = [main, *(face.box for face in each.faces if face.box != main)]
        sure = [True, *(face.sure for face in each.faces if face.box != main)]
        targets = np.zeros((len(boxes), len(LABELS)), np.float32)
        one = np.eye(len(LABELS), dtype=np.float32)[LABELS.index(label)]
        targets[0] = 0.25 * one + 0.75 * teacher(raster, [main], GIVEN_SCALE)[0]
        yield _marked(raster, "portraits", boxes, sure, targets)


def _portrait_labels(photos: Path) -> dict[Path, tuple[Box, str]]:
    return {
        each.path: (each.box, each.expression)
        for each in read_portraits(photos, split="train")
        if each.expression in LABELS
    }


def crops(folder: Path, teacher: Teacher) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """FER+ training crops (n, TILE, TILE) that are not in validation, at most MOST_CROPS of each
    class, and their targets (n, classes): half votes, half the teacher's answers."""
    faces = read_split(folder, "train", size=TILE)
    keep = votes.usable_for_training(faces.votes) & first_of_each(faces.digests)
    keep &= ~np.isin(faces.digests, read_split(folder, "valid", size=TILE).digests)
    targets = votes.distribution(faces.votes[keep])
    label = targets.argmax(axis=1)
    generator = np.random.default_rng(0)
    chosen = []
    for index, name in enumerate(LABELS):
        rows = generator.permutation(np.flatnonzero(label == index))
        chosen.append(rows[: MOST_CROPS.get(name, len(rows))])
    rows = np.concatenate(chosen)
    images = faces.crops[keep][rows]
    answers = 0.5 * teacher.answers(images) + 0.5 * targets[rows]
    return images, (CROP_WEIGHT * answers).astype(np.float32)


def _taught(answers: NDArray[np.float32]) -> NDArray[np.float32]:
    return TAUGHT_WEIGHT * answers * (answers.max(axis=1, keepdims=True, initial=0) >= UNDECIDED)


def _is_large(box: Box) -> bool:
    return box.longer_side >= FEWEST_PIXELS


def _read(path: Path) -> Raster:
    return ImageFile(path.read_bytes(), max_pixels=_MAX_PIXELS).read(color=True)


def _marked(
    raster: Raster,
    collection: str,
    boxes: Sequence[Box],
    sure: Sequence[bool],
    targets: NDArray[np.float32],
) -> Marked:
    quality, most = STORED[collection]
    image = raster.bgr
    factor = min(1.0, most / max(image.shape[:2]))
    if factor < 1:
        image = np.asarray(
            cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8
        )
    rows = np.array([box.xyxy for box in boxes], np.float32).reshape(-1, 4) * factor
    file = _encoded(image, quality)
    return Marked(file, collection, rows, np.array(sure, bool), targets)


def _encoded(image: NDArray[np.uint8], quality: int) -> bytes:
    return bytes(cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])[1])


_NO_CROPS = np.zeros((0, TILE, TILE), np.uint8), np.zeros((0, len(LABELS)), np.float32)


def pack(
    images: Sequence[Marked],
    faces: NDArray[np.uint8] = _NO_CROPS[0],
    answers: NDArray[np.float32] = _NO_CROPS[1],
) -> ScenePack:
    """One pack of all images; the FER+ crops `faces` (n, TILE, TILE) with the targets `answers`
    come last."""
    files = [each.file for each in images]
    files += [_encoded(sheet, SHEET_QUALITY) for sheet in sheets(faces)]
    collection = [COLLECTIONS.index(each.collection) for each in images]
    collection += [COLLECTIONS.index("ferplus")] * len(faces)
    counts = [len(each.boxes) for each in images] + [1] * len(faces)
    face_box = np.array([FER_FACE], np.float32) * TILE
    boxes = [*(each.boxes for each in images), np.tile(face_box, (len(faces), 1))]
    return ScenePack(
        files=np.frombuffer(b"".join(files), np.uint8),
        offsets=np.cumsum([0, *map(len, files)]),
        collection=np.array(collection, np.int8),
        image=np.repeat(np.arange(len(counts)), counts),
        box=np.concatenate(boxes).astype(np.float32),
        sure=np.concatenate([*(each.sure for each in images), np.ones(len(faces), bool)]),
        targets=np.concatenate([*(each.targets for each in images), answers]).astype(np.float32),
    )


# The processes that work on a collection.
PROCESSES = {"expw": 4, "natural": 2, "crowds": 1, "portraits": 1, "ferplus": 1}


def build_part(
    part: tuple[str, int], path: Path, data: Path, model: Path, limit: int | None
) -> Path:
    """Write the pack of one process beside `path`, unless an earlier run did."""
    name, number = part
    path = path.with_suffix(f".{name}.{number}.npz")
    if path.exists():
        return path
    cv2.setNumThreads(1)
    photos, teacher = data / PHOTOS, Teacher(model)
    chunk = Chunk(number, PROCESSES[name], limit)
    if name == "ferplus":
        made = pack([], *crops(data / FERPLUS, teacher))
    elif name == "portraits":
        made = pack(list(portraits(photos, teacher, chunk)))
    elif name == "expw":
        made = pack(list(wild(data, teacher, Finder(data / YUNET), chunk)))
    else:
        images = photographs(photos, name, teacher, Finder(data / YUNET), chunk)
        made = pack(list(images))
    made.save(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="where to write the pack")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--teacher", type=Path, default=Path("models/custom_net_8"))
    parser.add_argument("--limit", type=int, help="images of each process, for a trial")
    arguments = parser.parse_args()
    arguments.path.parent.mkdir(parents=True, exist_ok=True)
    parts = [(name, number) for name, count in PROCESSES.items() for number in range(count)]
    build = partial(
        build_part,
        path=arguments.path,
        data=arguments.data,
        model=arguments.teacher,
        limit=arguments.limit,
    )
    with ProcessPoolExecutor(len(parts), mp_context=multiprocessing.get_context("spawn")) as pool:
        paths = list(tqdm(pool.map(build, parts), total=len(parts)))
    made = joined([ScenePack.load(path) for path in paths])
    made.save(arguments.path)
    counts = np.bincount(made.collection, minlength=len(COLLECTIONS))
    print(dict(zip(COLLECTIONS, counts.tolist(), strict=True)), f"{len(made.files):,} bytes")


if __name__ == "__main__":
    main()
