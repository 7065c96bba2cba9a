"""Build the pack of training scenes for a GPU from the folder with all data sets.

    python -m training.data.build_scene_pack --data ../shared/data runs/scenes.npz

Several processes build the parts of the pack from the collections of training.data.pack_images.
Complete parts are reused when the command is run again.
"""

import argparse
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from training.data.annotated_images import FER_FACE
from training.data.pack_images import (
    Chunk,
    EncodedImage,
    crops,
    encode,
    photographs,
    portraits,
    wild,
)
from training.data.pack_models import FaceDetector, Teacher
from training.data.scene_pack import COLLECTIONS, TILE, ScenePack, joined, sheets
from training.data.sources import FERPLUS, PHOTOS, YUNET
from training.ferplus_labels import LABELS

SHEET_QUALITY = 84  # of WebP
# Number of processes for each collection.
PROCESSES = {"expw": 4, "natural": 2, "crowds": 1, "portraits": 1, "ferplus": 1}

_NO_CROPS = np.zeros((0, TILE, TILE), np.uint8), np.zeros((0, len(LABELS)), np.float32)


def pack(
    images: Sequence[EncodedImage],
    faces: NDArray[np.uint8] = _NO_CROPS[0],
    face_targets: NDArray[np.float32] = _NO_CROPS[1],
) -> ScenePack:
    """Return a pack of the images. The FER+ crops `faces` (n, TILE, TILE) with the targets
    `face_targets` (n, classes) come last."""
    files = [each.file for each in images]
    files += [encode(sheet, SHEET_QUALITY) for sheet in sheets(faces)]
    collection = [COLLECTIONS.index(each.collection) for each in images]
    collection += [COLLECTIONS.index("ferplus")] * len(faces)
    counts = [len(each.boxes) for each in images] + [1] * len(faces)
    face_box = np.array([FER_FACE], np.float32) * TILE
    boxes = [*(each.boxes for each in images), np.tile(face_box, (len(faces), 1))]
    targets = [*(each.targets for each in images), face_targets]
    return ScenePack(
        files=np.frombuffer(b"".join(files), np.uint8),
        offsets=np.cumsum([0, *map(len, files)]),
        collection=np.array(collection, np.int8),
        image=np.repeat(np.arange(len(counts)), counts),
        box=np.concatenate(boxes).astype(np.float32),
        sure=np.concatenate([*(each.sure for each in images), np.ones(len(faces), bool)]),
        targets=np.concatenate(targets).astype(np.float32),
    )


def build_part(
    part: tuple[str, int], path: Path, data: Path, model: Path, limit: int | None
) -> Path:
    """Write one part, a collection and the number of its process, next to `path`, unless the file
    exists."""
    name, number = part
    path = path.with_suffix(f".{name}.{number}.npz")
    if path.exists():
        return path
    cv2.setNumThreads(1)
    photos, teacher = data / PHOTOS, Teacher(model)
    chunk = Chunk(number, PROCESSES[name], limit)
    if name == "ferplus":
        result = pack([], *crops(data / FERPLUS, teacher))
    elif name == "portraits":
        result = pack(list(portraits(photos, teacher, chunk)))
    elif name == "expw":
        result = pack(list(wild(data, teacher, FaceDetector(data / YUNET), chunk)))
    else:
        images = photographs(photos, name, teacher, FaceDetector(data / YUNET), chunk)
        result = pack(list(images))
    result.save(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="where to write the pack")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--teacher", type=Path, default=Path("models/custom_net_8"))
    parser.add_argument("--limit", type=int, help="maximum images per process, for a trial")
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
    whole = joined([ScenePack.load(path) for path in paths])
    whole.save(arguments.path)
    counts = np.bincount(whole.collection, minlength=len(COLLECTIONS))
    print(dict(zip(COLLECTIONS, counts.tolist(), strict=True)), f"{len(whole.files):,} bytes")


if __name__ == "__main__":
    main()
