"""Measures detectors on wide and tall images, and on images that lie on their side.

    python -m evaluation.shapes --data ../shared/data
    python -m evaluation.shapes --write        # its part of docs/detectors.md

Wide images are validation photographs side by side at a height of 512 pixels, and tall images are
photographs on top of each other at a width of 512 pixels. "Before" is the former rule: faces from
5 % of the longer side on, and the whole image in one square for networks. Both rules are measured
in turn on every image, so that other load on the machine slows both equally.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.errors import ModelUnavailable
from app.vision import tiles
from app.vision.detectors import DETECTORS, Detector, default_min_face_px
from app.vision.image import ImageFile, resized
from app.vision.request import AnalysisOptions, AnalysisRequest, ImageData
from app.vision.types import Box, Detection, DetectionOptions
from evaluation.boxes import score_boxes
from evaluation.detection import BARE, COLLECTIONS, PAGE, ready
from evaluation.field import MAX_PIXELS
from evaluation.systems import served_engine
from testbed.boxes import Tally, tally
from testbed.markdown import block, percent, renew, table
from training.data.photos import MarkedFace, Photograph, PhotosError, read_photographs

NAME = "shapes"  # of the block in docs/detectors.md
MEASURED = ("haar", "single_shot", "yunet")
SIDE = 512  # pixels: the shorter side of wide and tall images
FEWEST_PIXELS, SMALLEST_SHARE = 20, 0.1  # of the shorter side: faces that must be found
FORMER_SHARE = 0.05  # of the longer side
MIN_IOU = 0.4
TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}
_HEAD = """\
## Wide and tall images

Made by `make evaluate-shapes`. The smallest face is by default 5 % of the longer side, or 10 % of
the shorter side where that is less, which is the case in images more than twice as long as wide.
The input of networks is a square, so they search images more than four times as long as wide in up
to {tiles} overlapping tiles. "Before" is 5 % of the longer side in every image, without tiles.

The images are the validation photographs as they are, and rows and columns of them with a shorter
side of {side} pixels. Counted are bare faces of at least {pixels} pixels and {share:.0f} % of the
shorter side, at IoU {iou}. A false box is a box without a face. Milliseconds are those of reading a
JPEG and finding the faces, one thread.
"""
_TURNED = """\
## Images that lie on their side

The {photographs} photographs of `natural` and `groups` with a face, turned by 90, 180 and 270
degrees and analysed with `rotate=auto`. Photographs in which the detector finds no face upright are
left out. "Undone": the image is turned upright. "Another turn": another turn has a larger sum of
detection scores. "Not turned": something is found in the image as it lies, or nothing in any turn.
"""


@dataclass(frozen=True)
class Example:
    """A JPEG file and its faces."""

    data: bytes
    size_wh: tuple[int, int]
    faces: tuple[MarkedFace, ...]

    def counts(self, face: MarkedFace) -> bool:
        side = face.box.longer_side
        is_large = side >= max(FEWEST_PIXELS, SMALLEST_SHARE * min(self.size_wh))
        return face.sure and face.condition in ("", BARE) and is_large


@dataclass(frozen=True)
class Result:
    """The result of one rule for one example."""

    tally: Tally
    milliseconds: float


def as_example(photograph: Photograph) -> Example:
    image = _read(photograph.path)
    return Example(photograph.path.read_bytes(), image.shape[1::-1], photograph.faces)


def rows_of(photographs: Sequence[Photograph], aspect: int, *, is_wide: bool) -> Iterator[Example]:
    """Images with a shorter side of SIDE pixels and a longer side of `aspect` times that, made of
    photographs in their order. Each photograph is resized to SIDE. The last one of an image is cut;
    a face that is cut does not have to be found."""
    parts: list[NDArray[np.uint8]] = []
    faces: list[MarkedFace] = []
    length = 0
    for photograph in photographs:
        image = _read(photograph.path)
        factor = SIDE / (image.shape[0] if is_wide else image.shape[1])
        part = resized(image, factor)
        part = part[:SIDE] if is_wide else part[:, :SIDE]
        faces += [_moved(face, factor, length, is_wide=is_wide) for face in photograph.faces]
        parts.append(part)
        length += part.shape[1 if is_wide else 0]
        if length >= aspect * SIDE:
            yield _joined(parts, faces, aspect * SIDE, is_wide=is_wide)
            parts, faces, length = [], [], 0


def _moved(face: MarkedFace, factor: float, length: int, *, is_wide: bool) -> MarkedFace:
    box = face.box.scaled(factor)
    dx, dy = (length, 0) if is_wide else (0, length)
    return replace(face, box=Box(box.x1 + dx, box.y1 + dy, box.x2 + dx, box.y2 + dy))


def _joined(
    parts: list[NDArray[np.uint8]], faces: list[MarkedFace], length: int, *, is_wide: bool
) -> Example:
    image = np.concatenate(parts, axis=1 if is_wide else 0)
    image = image[:, :length] if is_wide else image[:length]
    inside = []
    for face in faces:
        start, end = (face.box.x1, face.box.x2) if is_wide else (face.box.y1, face.box.y2)
        if start < length:
            inside.append(replace(face, sure=face.sure and end <= length))
    return Example(_jpeg(image), image.shape[1::-1], tuple(inside))


@contextmanager
def _without_tiles() -> Iterator[None]:
    usual, tiles.MAX_ASPECT = tiles.MAX_ASPECT, 10**9
    try:
        yield
    finally:
        tiles.MAX_ASPECT = usual


def served(detector: Detector, data: bytes) -> list[Detection]:
    """The faces for a request without `min_face_px`."""
    file = ImageFile(data, max_pixels=MAX_PIXELS)
    smallest = default_min_face_px(detector.min_face_share, file.width, file.height)
    return _found(detector, file, smallest)


def former(detector: Detector, data: bytes) -> list[Detection]:
    """The faces for such a request by the former rule."""
    file = ImageFile(data, max_pixels=MAX_PIXELS)
    with _without_tiles():
        return _found(detector, file, FORMER_SHARE * file.longer_side)


def _found(detector: Detector, file: ImageFile, min_face_px: float) -> list[Detection]:
    side = tiles.searched_side(file.width, file.height)
    scale = min(1.0, detector.scale_for(side, min_face_px))
    raster = file.read(scale=scale, color=detector.needs_color)
    found = detector.detect(raster, min_face_px)
    return [each for each in found if each.box.longer_side >= min_face_px]


def measured(
    detectors: dict[str, Detector], examples: Sequence[Example]
) -> dict[tuple[str, str], list[Result]]:
    """Every detector by both rules, "before" and "now", on every example."""
    results: dict[tuple[str, str], list[Result]] = {}
    for example in examples:
        for name, detector in detectors.items():
            for rule, find in (("before", former), ("now", served)):
                start = time.perf_counter()
                found = find(detector, example.data)
                took = 1000 * (time.perf_counter() - start)
                result = tally(found, example.faces, min_iou=MIN_IOU, counts=example.counts)
                results.setdefault((name, rule), []).append(Result(result, took))
    return results


def wide_and_tall(detectors: dict[str, Detector], photographs: Sequence[Photograph]) -> str:
    """A table with a row per shape, detector and rule."""
    shapes = {
        "as they are": [as_example(each) for each in photographs],
        "5:1": list(rows_of(photographs, 5, is_wide=True)),
        "1:5": list(rows_of(photographs, 5, is_wide=False)),
        "10:1": list(rows_of(photographs, 10, is_wide=True)),
    }
    rows = []
    for shape, examples in shapes.items():
        for (name, rule), results in measured(detectors, examples).items():
            scores = score_boxes([each.tally for each in results])
            faces = scores.true_positives + scores.false_negatives
            rows.append(
                [
                    shape,
                    str(len(examples)),
                    f"{name}, {rule}",
                    f"{scores.true_positives} of {faces}",
                    percent(scores.recall),
                    str(scores.false_positives),
                    f"{np.median([each.milliseconds for each in results]):.1f}",
                ]
            )
    head = ["shape", "images", "detector", "faces found", "recall", "false boxes", "ms, median"]
    return table(head, rows)


def turns(names: Sequence[str], photographs: Sequence[Photograph], models_dir: Path) -> str:
    """A table with a row per detector."""
    engine = served_engine(models_dir)
    rows = []
    for name in names:
        options = AnalysisOptions(detector=name)
        auto = replace(options, detection=DetectionOptions(rotate="auto"))
        undone = wrong = as_it_lies = tried = 0
        for photograph in photographs:
            image = _read(photograph.path)
            upright = engine.analyse(AnalysisRequest(ImageData(_jpeg(image), ""), options))
            if not upright.faces:
                continue
            for rotation, code in TURNS.items():
                data = _jpeg(np.asarray(cv2.rotate(image, code), np.uint8))
                found = engine.analyse(AnalysisRequest(ImageData(data, ""), auto)).rotation
                tried += 1
                undone += found == rotation
                as_it_lies += found == 0
                wrong += found not in (0, rotation)
        shares = [percent(count / max(1, tried)) for count in (undone, wrong, as_it_lies)]
        rows.append([name, str(tried), *shares])
    return table(["detector", "images", "undone", "another turn", "not turned"], rows)


def _read(path: Path) -> NDArray[np.uint8]:
    return ImageFile(path.read_bytes(), max_pixels=MAX_PIXELS).read(color=True).bgr


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--split", choices=["train", "val"], default="val")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--limit", type=int, help="photographs of each collection")
    parser.add_argument("--write", action="store_true", help=f"its part of {PAGE}")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    names = [name for name in ready(arguments.models_dir) if name in MEASURED]
    try:
        by_collection = {
            name: read_photographs(arguments.data / "photos", name, split=arguments.split)
            for name in COLLECTIONS
        }
        photographs = [its[: arguments.limit] for its in by_collection.values()]
        detectors = {name: DETECTORS[name].load(arguments.models_dir) for name in names}
        shown = wide_and_tall(detectors, list(chain(*photographs)))
        lying = [
            each
            for name in ("natural", "groups")
            for each in by_collection[name][: arguments.limit]
            if any(face.sure for face in each.faces)
        ]
        turned = turns(names, lying, arguments.models_dir)
    except (PhotosError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error
    head = _HEAD.format(
        tiles=tiles.MAX_TILES,
        side=SIDE,
        pixels=FEWEST_PIXELS,
        share=100 * SMALLEST_SHARE,
        iou=MIN_IOU,
    )
    text = "\n".join([head, shown, "", _TURNED.format(photographs=len(lying)), turned])
    print(text)
    if arguments.write:
        page = PAGE.read_text("utf-8")
        if not block(page, NAME):
            page += f"\n<!-- {NAME} --><!-- /{NAME} -->\n"
        PAGE.write_text(renew(page, {NAME: text}), "utf-8")


if __name__ == "__main__":
    main()
