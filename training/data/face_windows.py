"""Labelled windows of the face cascade in photographs, to train the network that verifies them.

Images are decoded and scaled like in the detector, with several minimum face sizes. The windows
therefore contain small and large, sharp and enlarged faces.
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
from training.data.photos import AnnotatedFace, Photograph, PhotosError, read_photographs

LABELS = ("nothing", FACE)
# The portraits of lfw-expressions are used to evaluate the service.
COLLECTIONS = ("crowds", "natural")
CROP_SCALE = 1.1  # relative to the window, as in FER+, which was made with this cascade
MIN_FACE_SHARES = (0.05, 0.1)
FACE_IOU = 0.4  # minimum overlap with a face, as in the evaluation of the detector
_MAX_PIXELS = 50_000_000


@dataclass(frozen=True)
class Windows:
    """`crops` (n, size, size) uint8; `is_face` (n,)."""

    crops: NDArray[np.uint8]
    is_face: NDArray[np.bool_]


def read(photos: Path, split: str, *, size: int) -> Windows:
    """Return the windows of a split. Raises PhotosError if there are none, or if a table is
    missing."""
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
        raise PhotosError(f"{photos} has no windows of the {split} split")
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


def _is_face(box: Box, faces: tuple[AnnotatedFace, ...]) -> bool | None:
    """Return None for a window on an unsure face."""
    overlap, sure = max(((iou(box, face.box), face.sure) for face in faces), default=(0.0, True))
    if overlap < FACE_IOU:
        return False
    return True if sure else None
