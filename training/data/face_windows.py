"""What the cascade takes for faces in photographs, and whether it is right: for a net that checks.

Windows come from images read as the detector reads them, for several smallest faces, so that
small and large, sharp and enlarged ones are there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from app.vision.detectors.cascade import Cascade
from app.vision.detectors.haar import FACE, candidate_cascade, candidates
from app.vision.image import ImageFile, crop_face
from app.vision.types import Box
from testbed.boxes import iou
from training.data.photos import MarkedFace, Photograph, PhotosError, read_photographs

LABELS = ("nothing", FACE)
# Not lfw-expressions: those portraits measure the whole service.
COLLECTIONS = ("crowds", "natural")
CROP_SCALE = 1.1  # of the window: as faces are cut in FER+, which was made with this cascade
MIN_FACE_SHARES = (0.05, 0.1)
FACE_IOU = 0.4  # what the detector is measured by: half a face is none
_MAX_PIXELS = 50_000_000


@dataclass(frozen=True)
class Windows:
    """`crops` (n, size, size) uint8; `is_face` (n,)."""

    crops: NDArray[np.uint8]
    is_face: NDArray[np.bool_]


def read(photos: Path, split: str, *, size: int) -> Windows:
    """The windows of a split. Raises PhotosError, also where there is none."""
    cascade = candidate_cascade()
    photographs = [
        photograph
        for collection in COLLECTIONS
        for photograph in read_photographs(photos, collection, split=split)
    ]
    crops, is_face = [], []
    for photograph in tqdm(photographs, desc=f"windows, {split}", leave=False):
        for crop, face in _windows(photograph, cascade, size):
            crops.append(crop)
            is_face.append(face)
    if not crops:
        raise PhotosError(f"{photos} holds no windows of the {split} split")
    return Windows(np.stack(crops), np.array(is_face))


def _windows(
    photograph: Photograph, cascade: Cascade, size: int
) -> Iterator[tuple[NDArray[np.uint8], bool]]:
    raster = ImageFile(photograph.path.read_bytes(), max_pixels=_MAX_PIXELS).read()
    for share in MIN_FACE_SHARES:
        min_face_px = share * max(raster.size_wh)
        for box, _ in candidates(cascade, raster, min_face_px):
            face = _is_face(box, photograph.faces)
            if face is not None:
                yield crop_face(raster.gray, box, size=size, scale=CROP_SCALE), face


def _is_face(box: Box, faces: tuple[MarkedFace, ...]) -> bool | None:
    """None where nobody can tell: an unsure face."""
    overlap, sure = max(((iou(box, face.box), face.sure) for face in faces), default=(0.0, True))
    if overlap < FACE_IOU:
        return False
    return True if sure else None
