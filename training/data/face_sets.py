"""Sets of grey squares around faces, and the folder that keeps them.

A set is one mosaic of equal tiles (JPEG, or PNG without loss) and one `.npz` with what is known of
each tile. Training needs nothing but this folder, so it can run on a machine without the research
data and without the service's image reader.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.split import DataError

FACES = Path("runs/faces")
TRAINING_SETS = ("ferplus", "wild", "unlabelled")
# A square of a photograph shows more than a classifier is given, so that shifted, turned and larger
# squares show the photograph and not its repeated edge.
MARGIN = 17 / 12
_COLUMNS = 128


@dataclass(frozen=True)
class FaceSet:
    """`images` (n, side, side) uint8: `margin` times as wide as the square that a classifier is
    given. `targets` (n, 8) float32 over training.votes.LABELS, all zeros where no label is known.
    `sure` (n,): every source of the label was sure of it. `folds` (n,): the teacher, by its number,
    that does not learn from the face, or -1 where all do."""

    images: NDArray[np.uint8]
    targets: NDArray[np.float32]
    margin: float
    sure: NDArray[np.bool_]
    folds: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The likeliest label of each face (n,), -1 where none is known."""
        return np.where(self.targets.any(axis=1), self.targets.argmax(axis=1), -1)

    def where(self, keep: NDArray[np.bool_]) -> "FaceSet":
        rows = ("images", "targets", "sure", "folds")
        return replace(self, **{name: getattr(self, name)[keep] for name in rows})

    def canvases(self, size: int) -> NDArray[np.uint8]:
        """Squares (n, canvas_side(size), canvas_side(size)) uint8 whose middle `size` pixels are
        what a classifier with that input size is given. Sets without a margin repeat the edge."""
        side, border = canvas_side(size), (canvas_side(size) - size) // 2
        made = np.empty((len(self), side, side), dtype=np.uint8)
        if self.margin == 1:
            for index, image in enumerate(self.images):
                face = _resized(image, size)
                edges = (border, border, border, border)
                made[index] = cv2.copyMakeBorder(face, *edges, cv2.BORDER_REPLICATE)
            return made
        wanted = round(self.images.shape[1] * side / size / self.margin)
        start = (self.images.shape[1] - wanted) // 2
        for index, image in enumerate(self.images):
            made[index] = _resized(image[start : start + wanted, start : start + wanted], side)
        return made


def canvas_side(size: int) -> int:
    """The side of the canvas of a classifier's input: at most MARGIN times `size`, and even."""
    return size + 2 * int(size * (MARGIN - 1) / 2)


def _resized(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Shrunk by area, enlarged linearly, as the service makes its crops."""
    if image.shape[0] == side:
        return image
    method = cv2.INTER_AREA if image.shape[0] > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (side, side), interpolation=method), dtype=np.uint8)


def write_set(folder: Path, name: str, faces: FaceSet, *, quality: int | None) -> None:
    """Write a set: as JPEG of that quality, or without loss where `quality` is None."""
    count, side, _ = faces.images.shape
    rows = -(-count // _COLUMNS)
    tiles = np.zeros((rows * _COLUMNS, side, side), dtype=np.uint8)
    tiles[:count] = faces.images
    mosaic = tiles.reshape(rows, _COLUMNS, side, side).swapaxes(1, 2).reshape(rows * side, -1)
    if quality is None:
        data = cv2.imencode(".png", mosaic, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    else:
        data = cv2.imencode(".jpg", mosaic, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.image").write_bytes(data.tobytes())
    np.savez_compressed(
        folder / f"{name}.npz",
        side=side,
        margin=faces.margin,
        targets=faces.targets.astype(np.float16),
        sure=faces.sure,
        folds=faces.folds,
    )


def read_set(folder: Path, name: str) -> FaceSet:
    """Raises DataError when the folder does not hold the set, or a broken one."""
    try:
        with np.load(folder / f"{name}.npz") as known:
            side, margin = int(known["side"]), float(known["margin"])
            targets = known["targets"].astype(np.float32)
            sure, folds = known["sure"], known["folds"]
        data = np.frombuffer((folder / f"{name}.image").read_bytes(), dtype=np.uint8)
        mosaic = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        if mosaic is None:
            raise ValueError("the mosaic is no image")
        tiles = mosaic.reshape(-1, side, _COLUMNS, side).swapaxes(1, 2).reshape(-1, side, side)
        images = np.ascontiguousarray(tiles[: len(targets)], dtype=np.uint8)
        sums = targets.sum(axis=1, keepdims=True)  # 16-bit floats do not sum to 1
        return FaceSet(images, targets / np.where(sums > 0, sums, 1), margin, sure, folds)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{folder} holds no set of faces {name!r} (make pack): {error}") from error
