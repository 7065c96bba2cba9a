"""Measure classifiers on portraits of a data set that no classifier was trained on.

    python -m evaluation.field models/custom_net_8 --data ../shared/data
    python -m evaluation.field --write                   # all models; writes their cards

The portraits are those of lfw-expressions. A vision-language model annotated them twice,
independently; only portraits with two equal labels are used. The figure is the macro end-to-end
accuracy: the share of portraits whose main face is detected (IoU at least 0.4) and classified
correctly, as the mean over the expressions that the model knows and that have at least MIN_FACES
portraits. A missed face counts as an error. Boxes come from a detector, or from faces.csv to
measure the classifier alone. `crop_scale` was chosen on portraits of the same set.
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
from training.data.photos import PhotosError, Portrait, portraits_with_equal_readings
from training.ferplus_labels import LABELS

SCALES = (0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2)
GIVEN = "faces.csv"  # the boxes of the data set
MATCH_IOU = 0.4
MIN_FACES = 12  # An emotion with fewer faces does not count in a macro figure.
SECTION = "portrait_readings"  # of the card
MAX_PIXELS = 50_000_000
DATA = (
    "lfw-expressions: portraits of Labeled Faces in the Wild, annotated twice, independently, by a "
    "vision-language model, not by people; only portraits with two equal labels; not used for "
    "training, but crop_scale and augmentation were chosen on portraits of this set, so slightly "
    "optimistic"
)


def service_scale(card: ClassifierCard, source: str) -> float:
    """The side of a crop divided by the longer side of a box from `source`, to three decimals."""
    # YuNet made the boxes of faces.csv.
    detector = "yunet" if source == GIVEN else source
    return round(card.crop_scale * DETECTORS[detector].box_scale, 3)


def read_rasters(portraits: list[Portrait]) -> list[Raster]:
    return [
        ImageFile(each.path.read_bytes(), max_pixels=MAX_PIXELS).read(color=True)
        for each in portraits
    ]


def main_boxes(
    portraits: list[Portrait], rasters: list[Raster], source: str, models_dir: Path
) -> list[Box | None]:
    """The box of the main face of each portrait, None for a missed face.

    `source` is the name of a detector, or GIVEN for the boxes of faces.csv.
    """
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


def classified_correctly(
    classifier: Classifier,
    portraits: list[Portrait],
    rasters: list[Raster],
    boxes: list[Box | None],
    scale: float,
) -> NDArray[np.bool_]:
    """Whether each portrait (n,) is classified correctly. A missed face is an error."""
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


def accuracy_by_expression(
    hits: NDArray[np.bool_], portraits: list[Portrait], labels: Sequence[str]
) -> dict[str, float]:
    """The share of portraits that are classified correctly, by expression.

    Expressions that are not in `labels` or have fewer than MIN_FACES portraits are left out.
    """
    expressions = np.array([portrait.expression for portrait in portraits])
    names, counts = np.unique(expressions, return_counts=True)
    return {
        str(name): float(hits[expressions == name].mean())
        for name, count in zip(names, counts, strict=True)
        if count >= MIN_FACES and name in labels
    }


def count_expressions(portraits: Sequence[Portrait]) -> dict[str, int]:
    """The number of portraits by expression, in the order of LABELS."""
    expressions = [portrait.expression for portrait in portraits]
    return {label: expressions.count(label) for label in LABELS if label in expressions}


def macro(shares: dict[str, float]) -> float:
    """The mean over expressions."""
    return float(np.mean(list(shares.values())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="*", default=model_folders(Path("models")))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--boxes", choices=[*sorted(DETECTORS), GIVEN], nargs="+")
    parser.add_argument(
        "--scales", type=float, nargs="+", default=SCALES, help="besides the one of the card"
    )
    parser.add_argument(
        "--models-dir", type=Path, default=Path("models"), help="folder of the detectors"
    )
    parser.add_argument("--write", action="store_true", help="write the figures to the cards")
    arguments = parser.parse_args()
    try:
        classifiers = {folder: Classifier.load(folder) for folder in arguments.models}
        portraits = portraits_with_equal_readings(arguments.data / "photos")
    except (PhotosError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error
    rasters = read_rasters(portraits)
    sections: dict[Path, dict[str, Any]] = {folder: {} for folder in classifiers}
    for source in arguments.boxes or ("haar", GIVEN):
        boxes = main_boxes(portraits, rasters, source, arguments.models_dir)
        share = float(np.mean([box is not None for box in boxes]))
        print(
            f"{len(portraits)} portraits, boxes of {source}: detection recall {100 * share:.1f} %"
        )
        for folder, classifier in classifiers.items():
            served = service_scale(classifier.card, source)
            by_scale = {
                scale: accuracy_by_expression(
                    classified_correctly(classifier, portraits, rasters, boxes, scale),
                    portraits,
                    classifier.card.labels,
                )
                for scale in sorted({*arguments.scales, served})
            }
            print(f"{folder.name}, single view", flush=True)
            for scale, accuracies in by_scale.items():
                chosen = " (the card's)" if scale == served else ""
                parts = "  ".join(f"{name} {100 * value:.1f}" for name, value in accuracies.items())
                print(f"  scale {scale:<5} macro {100 * macro(accuracies):.1f}   {parts}{chosen}")
            sections[folder][source] = {
                "main_face_found": round(share, 4),
                "macro": round(macro(by_scale[served]), 4),
                "right_by_expression": _rounded(by_scale[served]),
                "macro_by_crop_scale": _rounded(
                    {str(scale): macro(each) for scale, each in by_scale.items()}
                ),
            }
    if arguments.write:
        for folder, classifier in classifiers.items():
            section = {
                "data": DATA,
                "portraits_by_emotion": count_expressions(portraits),
                "boxes": sections[folder],
                "command": f"make evaluate-field MODELS={relpath(folder)}",
            }
            write_card(folder, classifier.card.document | {SECTION: section})


def _rounded(shares: dict[str, float]) -> dict[str, float]:
    return {name: round(share, 4) for name, share in shares.items()}


if __name__ == "__main__":
    main()
