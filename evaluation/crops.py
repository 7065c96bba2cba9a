"""How wide to crop: a model on photographs through the cascade, by crop scale.

    python -m evaluation.crops models/custom_net_8 --data ../shared/data

For every portrait of lfw-expressions, the share whose main face is found by the cascade (IoU at
least 0.4) and named right, averaged over the expressions with at least 40 pictures. A face that
is missed counts as wrong. These pictures are never trained on; they choose `crop_scale`.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.vision.card import write_card
from app.vision.classifier import Classifier
from app.vision.detectors import DETECTORS
from app.vision.image import crop_face, decode, to_gray
from app.vision.types import Box
from evaluation.photos import PhotosError, Portrait, iou, read_portraits

SCALES = (0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3)
MATCH_IOU = 0.4
FEWEST_PICTURES = 40
MAX_PIXELS = 50_000_000


def found_boxes(
    portraits: list[Portrait], detector_name: str
) -> list[tuple[NDArray[np.uint8], Box | None]]:
    """(grey picture, the detector's box of the main face or None) for each portrait."""
    detector = DETECTORS[detector_name]()
    found = []
    for portrait in portraits:
        image_bgr = decode(portrait.path.read_bytes(), max_pixels=MAX_PIXELS)
        image_gray = to_gray(image_bgr)
        boxes = [detection.box for detection in detector.detect(image_bgr, image_gray)]
        best = max(boxes, key=lambda box: iou(box, portrait.box), default=None)
        if best is not None and iou(best, portrait.box) < MATCH_IOU:
            best = None
        found.append((image_gray, best))
    return found


def right_by_expression(
    classifier: Classifier,
    portraits: list[Portrait],
    found: list[tuple[NDArray[np.uint8], Box | None]],
    scale: float,
) -> dict[str, float]:
    """Share of pictures named right, by expression; missed faces count as wrong."""
    hits = np.zeros(len(portraits), dtype=bool)
    indices = [index for index, (_, box) in enumerate(found) if box is not None]
    crops = np.stack(
        [
            crop_face(image, box, size=classifier.card.input_size, scale=scale)
            for image, box in found
            if box is not None
        ]
    )
    predicted = classifier.predict(crops).argmax(axis=1)
    for index, label in zip(indices, predicted, strict=True):
        hits[index] = classifier.card.labels[label] == portraits[index].expression
    expressions = np.array([portrait.expression for portrait in portraits])
    names, counts = np.unique(expressions, return_counts=True)
    return {
        str(name): float(hits[expressions == name].mean())
        for name, count in zip(names, counts, strict=True)
        if count >= FEWEST_PICTURES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--detector", choices=sorted(DETECTORS), default="haar")
    parser.add_argument("--split", choices=["train", "val"], help="both unless given")
    parser.add_argument("--write", action="store_true", help="put the figures on the card")
    arguments = parser.parse_args()
    classifier = Classifier.load(arguments.model)
    try:
        portraits = read_portraits(arguments.data / "photos", split=arguments.split)
    except PhotosError as error:
        raise SystemExit(f"error: {error}") from error
    found = found_boxes(portraits, arguments.detector)
    share = float(np.mean([box is not None for _, box in found]))
    print(f"{len(portraits)} portraits, main face found in {100 * share:.1f} %, single view")
    by_scale = {}
    for scale in sorted({*SCALES, classifier.card.crop_scale}):
        right = right_by_expression(classifier, portraits, found, scale)
        by_scale[scale] = right
        chosen = " (the card's)" if scale == classifier.card.crop_scale else ""
        parts = "  ".join(f"{name} {100 * value:.1f}" for name, value in right.items())
        print(f"scale {scale:<5} macro {100 * macro(right):.1f}   {parts}{chosen}")
    if arguments.write:
        document = classifier.card.document
        document["field"] = {
            "data": "lfw-expressions: portraits from Labeled Faces in the Wild, other people's "
            "labels, never trained on; used to choose crop_scale, so a little flattering",
            "pictures": len(portraits),
            "detector": arguments.detector,
            "main_face_found": round(share, 4),
            "right_by_expression": rounded(by_scale[classifier.card.crop_scale]),
            "macro_by_crop_scale": rounded(
                {str(scale): macro(right) for scale, right in by_scale.items()}
            ),
            "command": f"make evaluate-crops MODEL={classifier.card.name}",
        }
        write_card(arguments.model, document)


def macro(right: dict[str, float]) -> float:
    return float(np.mean(list(right.values())))


def rounded(shares: dict[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items()}


if __name__ == "__main__":
    main()
