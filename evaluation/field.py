"""How right models are in the field: portraits of another data set, by boxes and by crop scale.

    python -m evaluation.field models/custom_net_8 --data ../shared/data
    python -m evaluation.field --write                   # all models; and put it on their cards

For every portrait of lfw-expressions, the share whose main face is found (IoU at least 0.4) and
named right, averaged over the expressions that the model knows and at least 40 pictures show. A
face that is missed counts as wrong. Boxes come from a detector, or are the given ones of faces.csv,
which shows what the classifier alone is worth. These pictures are never trained on; they choose
`crop_scale`.
"""

import argparse
from collections.abc import Sequence
from os.path import relpath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import ModelUnavailable
from app.vision.card import write_card
from app.vision.classifier import Classifier, ClassifierCard
from app.vision.detectors import DETECTORS, default_min_face_px
from app.vision.image import ImageFile, Raster, crop_face
from app.vision.kinds import model_folders
from app.vision.types import Box
from testbed.boxes import iou
from training.data.photos import PhotosError, Portrait, read_portraits

SCALES = (0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2)
GIVEN = "faces.csv"
MATCH_IOU = 0.4
FEWEST_PICTURES = 40
MAX_PIXELS = 50_000_000


def served_scale(card: ClassifierCard, source: str) -> float:
    """The side of a crop over the longer side of a box of `source`, to a thousandth."""
    like = "yunet" if source == GIVEN else source  # whose boxes those of faces.csv are
    return round(card.crop_scale * DETECTORS[like].box_scale, 3)


def read_rasters(portraits: list[Portrait]) -> list[Raster]:
    return [
        ImageFile(each.path.read_bytes(), max_pixels=MAX_PIXELS).read(color=True)
        for each in portraits
    ]


def main_boxes(
    portraits: list[Portrait], rasters: list[Raster], source: str, models_dir: Path
) -> list[Box | None]:
    """The box of each portrait's main face from a detector of that name, None where it is missed;
    from faces.csv where `source` is GIVEN."""
    if source == GIVEN:
        return [portrait.box for portrait in portraits]
    detector = DETECTORS[source].load(models_dir)
    boxes: list[Box | None] = []
    for portrait, raster in zip(portraits, rasters, strict=True):
        min_face_px = default_min_face_px(detector.min_face_share, *raster.size_wh)
        found = [detection.box for detection in detector.detect(raster, min_face_px)]
        best = max(found, key=lambda box: iou(box, portrait.box), default=None)
        hit = best is not None and iou(best, portrait.box) >= MATCH_IOU
        boxes.append(best if hit else None)
    return boxes


def named_right(
    classifier: Classifier,
    portraits: list[Portrait],
    rasters: list[Raster],
    boxes: list[Box | None],
    scale: float,
) -> NDArray[np.bool_]:
    """Whether each picture is named right; a missed face is not."""
    size, labels = classifier.card.input_size, classifier.card.labels
    found = [index for index, box in enumerate(boxes) if box is not None]
    crops = np.stack(
        [
            crop_face(rasters[index].gray, box, size=size, scale=scale)
            for index, box in enumerate(boxes)
            if box is not None
        ]
    )
    hits = np.zeros(len(portraits), dtype=bool)
    for index, label in zip(found, classifier.predict(crops).argmax(axis=1), strict=True):
        hits[index] = labels[label] == portraits[index].expression
    return hits


def right_by_expression(
    hits: NDArray[np.bool_], portraits: list[Portrait], labels: Sequence[str]
) -> dict[str, float]:
    """Share of pictures named right, by expression that is one of `labels` and common enough."""
    expressions = np.array([portrait.expression for portrait in portraits])
    names, counts = np.unique(expressions, return_counts=True)
    return {
        str(name): float(hits[expressions == name].mean())
        for name, count in zip(names, counts, strict=True)
        if count >= FEWEST_PICTURES and name in labels
    }


def macro(right: dict[str, float]) -> float:
    return float(np.mean(list(right.values())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="*", default=model_folders(Path("models")))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--boxes", choices=[*sorted(DETECTORS), GIVEN], nargs="+")
    parser.add_argument("--scales", type=float, nargs="+", default=SCALES, help="beside the card's")
    parser.add_argument("--split", choices=["train", "val"], help="both unless given")
    parser.add_argument("--models-dir", type=Path, default=Path("models"), help="of detectors")
    parser.add_argument("--write", action="store_true", help="put the figures on the cards")
    arguments = parser.parse_args()
    try:
        classifiers = {folder: Classifier.load(folder) for folder in arguments.models}
        portraits = read_portraits(arguments.data / "photos", split=arguments.split)
    except (PhotosError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error
    rasters = read_rasters(portraits)
    sections: dict[Path, dict[str, Any]] = {folder: {} for folder in classifiers}
    for source in arguments.boxes or ("haar", GIVEN):
        boxes = main_boxes(portraits, rasters, source, arguments.models_dir)
        share = float(np.mean([box is not None for box in boxes]))
        print(f"{len(portraits)} portraits, boxes of {source}: main face in {100 * share:.1f} %")
        for folder, classifier in classifiers.items():
            served = served_scale(classifier.card, source)
            by_scale = {
                scale: right_by_expression(
                    named_right(classifier, portraits, rasters, boxes, scale),
                    portraits,
                    classifier.card.labels,
                )
                for scale in sorted({*arguments.scales, served})
            }
            print(f"{folder.name}, single view", flush=True)
            for scale, right in by_scale.items():
                chosen = " (the card's)" if scale == served else ""
                parts = "  ".join(f"{name} {100 * value:.1f}" for name, value in right.items())
                print(f"  scale {scale:<5} macro {100 * macro(right):.1f}   {parts}{chosen}")
            sections[folder][source] = {
                "main_face_found": round(share, 4),
                "macro": round(macro(by_scale[served]), 4),
                "right_by_expression": _rounded(by_scale[served]),
                "macro_by_crop_scale": _rounded(
                    {str(scale): macro(right) for scale, right in by_scale.items()}
                ),
            }
    if arguments.write:
        for folder, classifier in classifiers.items():
            section = {
                "data": "lfw-expressions: portraits from Labeled Faces in the Wild with one hand-"
                "given expression each, never trained on; used to choose crop_scale and "
                "augmentation, so a little flattering",
                "pictures": len(portraits),
                "boxes": sections[folder],
                "command": f"make evaluate-field MODELS={relpath(folder)}",
            }
            write_card(folder, classifier.card.document | {"field": section})


def _rounded(shares: dict[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items()}


if __name__ == "__main__":
    main()
