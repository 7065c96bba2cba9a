"""Measure recall, precision and run time of the face detectors.

    python -m evaluation.detection --data ../shared/data
    python -m evaluation.detection --write   # docs/detectors.md with its chart, docs/accuracy.md

The measured code is the code of the service: the file is decoded at the smallest scale that the
detector allows. The collections are `crowds` (people drew the boxes of bare and masked faces),
`natural` (streets, work, animals, things; half of them without faces) and `groups`. The evaluation
counts faces of at least 20 pixels and 5 % of the longer side. Smaller faces, and faces that are
labelled as unsure, are ignored. The detectors take turns on every photograph, so other load on the
machine slows all of them equally.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from app.errors import ModelUnavailable
from app.vision.card import SINGLE_SHOT, write_card
from app.vision.classifier import Classifier
from app.vision.detectors import DETECTORS
from app.vision.folders import CARD_FILE, read_document
from evaluation.detection_page import CHART, COLLECTIONS, MIN_IOUS, plot, report, short_table
from evaluation.detection_scores import (
    BARE,
    MIN_PIXELS,
    MIN_SHARE,
    Search,
    Setting,
    end_to_end,
    installed_detectors,
    scores,
    search,
)
from evaluation.systems import CLASSIFIER
from testbed.markdown import block, renew
from training.data.photos import PhotosError, portraits_with_equal_readings, read_photographs

SHARES = (0.05, 0.1)
# Blocks of the page that evaluation.shapes writes, and that people write.
KEPT_BLOCKS = ("shapes", "haar")
PAGE, SUMMARY = Path("docs/detectors.md"), Path("docs/accuracy.md")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--split", choices=["train", "val"], default="val")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--model", default=CLASSIFIER, help="classifier of the detected faces")
    parser.add_argument(
        "--detectors", choices=sorted(DETECTORS), nargs="+", help="default: all with weights"
    )
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"write {PAGE}, its chart, the table in {SUMMARY} and the cards",
    )
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    detectors = arguments.detectors or installed_detectors(arguments.models_dir)
    settings = [
        Setting(name, share)
        for name in detectors
        # A detector with a default of 0 ignores the smallest face.
        for share in (arguments.shares if DETECTORS[name].min_face_share else [0.0])
    ]
    photos = arguments.data / "photos"
    try:
        classifier = Classifier.load(arguments.models_dir / arguments.model)
        photographs = [
            photograph
            for collection in COLLECTIONS
            for photograph in read_photographs(photos, collection, split=arguments.split)
        ]
        portraits = portraits_with_equal_readings(photos)
        searches = search(photographs, settings, arguments.models_dir)
    except (PhotosError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error
    results = end_to_end(detectors, classifier, portraits, arguments.models_dir)
    text = report(searches, classifier, results)
    print(text)
    if arguments.write:
        page = PAGE.read_text("utf-8") if PAGE.exists() else ""
        kept = [f"\n{part}\n" for name in KEPT_BLOCKS if (part := block(page, name))]
        PAGE.write_text("".join([text, *kept]), "utf-8")
        plot(searches, CHART)
        blocks = {"detectors": short_table(searches, results)}
        SUMMARY.write_text(renew(SUMMARY.read_text("utf-8"), blocks), "utf-8")
        write_cards(searches, arguments.models_dir, arguments.split)


def write_cards(searches: dict[Setting, list[Search]], models_dir: Path, split: str) -> None:
    """Put the figures on the cards of the detectors, except those that evaluation.single_shot
    measures."""
    for setting, found in searches.items():
        folder = models_dir / setting.detector
        if not setting.is_default or not (folder / CARD_FILE).exists():
            continue
        document = read_document(folder)
        if document.get("kind") != SINGLE_SHOT:
            write_card(folder, document | {"evaluation": card_section(found, split)})


def card_section(found: Sequence[Search], split: str) -> dict[str, Any]:
    """The section `evaluation` of the card of a detector: figures of its default setting."""
    bare = scores(found, min_iou=MIN_IOUS[-1], condition=BARE)
    return {
        "data": f"photographs of {', '.join(COLLECTIONS)}, split {split}",
        "command": "make evaluate-detectors",
        "pictures": len(found),
        "protocol": f"faces without masks of at least {MIN_PIXELS} pixels and {MIN_SHARE:.0%} of "
        f"the longer side, IoU {MIN_IOUS[-1]}",
        "faces": bare.true_positives + bare.false_negatives,
        "recall": round(bare.recall, 4),
        "recall_interval_95": [round(end, 4) for end in bare.recall_interval],
        "precision": round(bare.precision, 4),
        "precision_interval_95": [round(end, 4) for end in bare.precision_interval],
        "average_precision": round(bare.average_precision, 4),
        "expected_calibration_error": round(bare.calibration_error, 4),
        "note": "settings were chosen and the score was calibrated on this split",
    }


if __name__ == "__main__":
    main()
