"""The scene pack: a compact file of images with annotated faces, for the composition of scenes.

Images are stored encoded, so a pack of thousands of photographs can be copied to another machine.
FER+ crops are stored as large sheets of tiles. The module needs only NumPy and OpenCV.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

COLLECTIONS = ("natural", "empty", "crowds", "expw", "portraits", "ferplus")
TILE = 48  # side of a FER+ crop in pixels
TILES_ACROSS = 32  # tiles per row of a sheet


@dataclass(frozen=True)
class ScenePack:
    """Images with faces. The FER+ crops are the last images.

    - `files` (bytes,): the encoded photographs, then the sheets of tiles.
    - `offsets` (photographs + sheets + 1,): the start of each file.
    - `collection` (images,): indices into COLLECTIONS.
    - `image` (faces,): the index of the image of each face.
    - `box` (faces, 4): xyxy in pixels of the stored image.
    - `sure` (faces,): whether a detector must find the face.
    - `targets` (faces, classes): distributions over expressions, multiplied by the weight of the
      face; 0 if the expression is unknown.
    """

    files: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    collection: NDArray[np.int8]
    image: NDArray[np.int64]
    box: NDArray[np.float32]
    sure: NDArray[np.bool_]
    targets: NDArray[np.float32]

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **{each.name: getattr(self, each.name) for each in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Self:
        with np.load(path, allow_pickle=False) as arrays:
            return cls(**{each.name: arrays[each.name] for each in fields(cls)})

    def images(self, *, threads: int = 1) -> list[NDArray[np.uint8]]:
        """Decode all images (height, width, 3) uint8 BGR with this number of threads."""
        crops = int((self.collection == COLLECTIONS.index("ferplus")).sum())
        photographs = len(self.collection) - crops

        def decode(index: int) -> NDArray[np.uint8]:
            data = self.files[self.offsets[index] : self.offsets[index + 1]]
            return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

        with ThreadPoolExecutor(threads) as pool:
            decoded = list(pool.map(decode, range(len(self.offsets) - 1)))
        tiles = [tile for sheet in decoded[photographs:] for tile in _tiles(sheet)]
        return [*decoded[:photographs], *tiles[:crops]]


def joined(packs: Sequence[ScenePack]) -> ScenePack:
    """Join packs. Only the last one may contain FER+ crops, because these come last."""
    files = np.cumsum([0, *(len(each.files) for each in packs)])
    images = np.cumsum([0, *(len(each.collection) for each in packs)])
    offsets = [each.offsets[:-1] + start for each, start in zip(packs, files[:-1], strict=True)]
    image = [each.image + start for each, start in zip(packs, images[:-1], strict=True)]
    return ScenePack(
        files=np.concatenate([each.files for each in packs]),
        offsets=np.concatenate([*offsets, files[-1:]]),
        collection=np.concatenate([each.collection for each in packs]),
        image=np.concatenate(image),
        box=np.concatenate([each.box for each in packs]),
        sure=np.concatenate([each.sure for each in packs]),
        targets=np.concatenate([each.targets for each in packs]),
    )


def sheets(crops: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Arrange grey crops (n, TILE, TILE) in sheets of TILES_ACROSS × TILES_ACROSS tiles."""
    result = []
    for start in range(0, len(crops), TILES_ACROSS**2):
        part = crops[start : start + TILES_ACROSS**2]
        padded = np.zeros((TILES_ACROSS**2, TILE, TILE), np.uint8)
        padded[: len(part)] = part
        grid = padded.reshape(TILES_ACROSS, TILES_ACROSS, TILE, TILE)
        side = TILES_ACROSS * TILE
        result.append(np.ascontiguousarray(grid.transpose(0, 2, 1, 3).reshape(side, side)))
    return result


def _tiles(sheet: NDArray[np.uint8]) -> Sequence[NDArray[np.uint8]]:
    grid = sheet.reshape(TILES_ACROSS, TILE, TILES_ACROSS, TILE, 3).transpose(0, 2, 1, 3, 4)
    return list(grid.reshape(-1, TILE, TILE, 3))
