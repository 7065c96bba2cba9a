"""How right models are in the field: portraits of another data set, by boxes and by crop scale.

    python -m evaluation.field models/custom_net_8 --data ../shared/data
    python -m evaluation.field models/* --write          # and put it on their cards

For every portrait of lfw-expressions, the share whose main face is found (IoU at least 0.4) and
named right, averaged over the expressions that the model knows and at least 40 pictures show. A
face that is missed counts as wrong. Boxes come from a detector, or are the given ones of faces.csv,
which shows what the classifier alone is worth. These pictures are never trained on; they choose
`crop_scale`.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import ModelUnavailable
from app.vision.card import ModelCard, write_card
from app.vision.classifier import Classifier
from app.vision.detectors import DETECTORS
from app.vision.image import crop_face, decode, to_gray
from app.vision.types import Box
from evaluation.photos import PhotosError, Portrait, iou, read_portraits

SCALES = (0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2)
GIVEN = "faces.csv"
# A card's crop_scale is for the cascade's squares. The given boxes are another detector's, which
# reach farther for the same face.
GIVEN_SCALE = 0.86
MATCH_IOU = 0.4
FEWEST_PICTURES = 40
MAX_PIXELS = 50_000_000


def served_scale(card: ModelCard, source: str) -> float:
    """The side of a crop over the longer side of a box of `source`, to a thousandth."""
    return round(card.crop_scale * (GIVEN_SCALE if source == GIVEN else 1), 3)


def read_gray(portraits: list[Portrait]) -> list[NDArray[np.uint8]]:
    return [to_gray(decode(each.path.read_bytes(), max_pixels=MAX_PIXELS)) for each in portraits]


def main_boxes(
    portraits: list[Portrait], images_gray: list[NDArray[np.uint8]], source: str
) -> list[Box | None]:
    """The box of each portrait's main face from a detector of that name, None where it is missed;
    from faces.csv where `source` is GIVEN. The portraits are grey, so their colours are."""
    if source == GIVEN:
        return [portrait.box for portrait in portraits]
    detector = DETECTORS[source]()
    boxes: list[Box | None] = []
    for portrait, gray in zip(portraits, images_gray, strict=True):
        image_bgr = np.repeat(gray[:, :, np.newaxis], 3, axis=2)
        found = [detection.box for detection in detector.detect(image_bgr, gray)]
        best = max(found, key=lambda box: iou(box, portrait.box), default=None)
        hit = best is not None and iou(best, portrait.box) >= MATCH_IOU
        boxes.append(best if hit else None)
    return boxes


def right_by_expression(
    classifier: Classifier,
    portraits: list[Portrait],
    images_gray: list[NDArray[np.uint8]],
    boxes: list[Box | None],
    scale: float,
) -> dict[str, float]:
    """Share of pictures named right, by expression; missed faces count as wrong."""
    size, labels = classifier.card.input_size, classifier.card.labels
    found = [index for index, box in enumerate(boxes) if box is not None]
    crops = np.stack(
        [
            crop_face(images_gray[index], box, size=size, scale=scale)
            for index, box in enumerate(boxes)
            if box is not None
        ]
    )
    hits = np.zeros(len(portraits), dtype=bool)
    for index, label in zip(found, classifier.predict(crops).argmax(axis=1), strict=True):
        hits[index] = labels[label] == portraits[index].expression
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
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--boxes", choices=[*sorted(DETECTORS), GIVEN], nargs="+")
    parser.add_argument("--split", choices=["train", "val"], help="both unless given")
    parser.add_argument("--write", action="store_true", help="put the figures on the cards")
    arguments = parser.parse_args()
    try:
        classifiers = {folder: Classifier.load(folder) for folder in arguments.models}
        portraits = read_portraits(arguments.data / "photos", split=arguments.split)
    except (PhotosError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error
    images_gray = read_gray(portraits)
    sections: dict[Path, dict[str, Any]] = {folder: {} for folder in classifiers}
    for source in arguments.boxes or ("haar", GIVEN):
        boxes = main_boxes(portraits, images_gray, source)
        share = float(np.mean([box is not None for box in boxes]))
        print(f"{len(portraits)} portraits, boxes of {source}: main face in {100 * share:.1f} %")
        for folder, classifier in classifiers.items():
            served = served_scale(classifier.card, source)
            by_scale = {
                scale: right_by_expression(classifier, portraits, images_gray, boxes, scale)
                for scale in sorted({*SCALES, served})
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
                "command": f"make evaluate-field MODELS=models/{folder.name}",
            }
            write_card(folder, classifier.card.document | {"field": section})


def _rounded(shares: dict[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items()}


if __name__ == "__main__":
    main()
