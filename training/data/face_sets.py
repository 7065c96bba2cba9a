"""Sets of grey squares around faces, stored in a folder.

A set is a mosaic of equal tiles (JPEG, or lossless PNG) and a `.npz` with the annotations of each
tile. Training needs only this folder, so it can run on a machine without the research data and
without the image decoder of the service.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.split import DataError

FACES = Path("runs/faces")
TRAINING_SETS = ("ferplus", "wild", "unlabelled")
# Width of the squares relative to the classifier's crop. Because of the margin, shifted, rotated
# and larger crops show the photograph and not a repeated edge.
MARGIN = 17 / 12
_COLUMNS = 128


@dataclass(frozen=True)
class FaceSet:
    """A set of faces.

    - `images` (n, side, side) uint8: squares, `margin` times as wide as the classifier's crop.
    - `targets` (n, 8) float32: distributions over training.ferplus_labels.LABELS, all zeros for
      faces without a label.
    - `sure` (n,): whether all annotations of the face are certain.
    - `folds` (n,): the fold of each face, or -1. The teacher of a fold is not trained on its faces.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.float32]
    margin: float
    sure: NDArray[np.bool_]
    folds: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> NDArray[np.int64]:
        """The most probable label of each face (n,), -1 for faces without a label."""
        return np.where(self.targets.any(axis=1), self.targets.argmax(axis=1), -1)

    def where(self, keep: NDArray[np.bool_]) -> "FaceSet":
        rows = ("images", "targets", "sure", "folds")
        return replace(self, **{name: getattr(self, name)[keep] for name in rows})

    def canvases(self, size: int) -> NDArray[np.uint8]:
        """Return canvases (n, canvas_side(size), canvas_side(size)) uint8. The central `size`
        pixels are the crop of a classifier with this input size. Sets without a margin repeat the
        edge."""
        side, border = canvas_side(size), (canvas_side(size) - size) // 2
        canvases = np.empty((len(self), side, side), dtype=np.uint8)
        if self.margin == 1:
            for index, image in enumerate(self.images):
                face = _resized(image, size)
                edges = (border, border, border, border)
                canvases[index] = cv2.copyMakeBorder(face, *edges, cv2.BORDER_REPLICATE)
            return canvases
        width = round(self.images.shape[1] * side / size / self.margin)
        start = (self.images.shape[1] - width) // 2
        for index, image in enumerate(self.images):
            canvases[index] = _resized(image[start : start + width, start : start + width], side)
        return canvases


def canvas_side(size: int) -> int:
    """Return the side of the canvas for a crop of `size`: at most MARGIN times `size`, with the
    same border on both sides."""
    return size + 2 * int(size * (MARGIN - 1) / 2)


def _resized(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resize like the service: by area when reducing, linearly when enlarging."""
    if image.shape[0] == side:
        return image
    method = cv2.INTER_AREA if image.shape[0] > side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (side, side), interpolation=method), dtype=np.uint8)


def write_set(folder: Path, name: str, faces: FaceSet, *, quality: int | None) -> None:
    """Write a set as JPEG of this quality, or as lossless PNG if `quality` is None."""
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
    """Read a set. Raises DataError if it is missing or invalid."""
    try:
        with np.load(folder / f"{name}.npz") as arrays:
            side, margin = int(arrays["side"]), float(arrays["margin"])
            targets = arrays["targets"].astype(np.float32)
            sure, folds = arrays["sure"], arrays["folds"]
        data = np.frombuffer((folder / f"{name}.image").read_bytes(), dtype=np.uint8)
        mosaic = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        if mosaic is None:
            raise ValueError("the mosaic is not an image")
        tiles = mosaic.reshape(-1, side, _COLUMNS, side).swapaxes(1, 2).reshape(-1, side, side)
        images = np.ascontiguousarray(tiles[: len(targets)], dtype=np.uint8)
        sums = targets.sum(axis=1, keepdims=True)  # 16-bit floats do not sum to 1
        return FaceSet(images, targets / np.where(sums > 0, sums, 1), margin, sure, folds)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{folder} has no set of faces {name!r} (make pack): {error}") from error
