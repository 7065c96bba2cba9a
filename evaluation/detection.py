"""How many faces detectors find, how many are none, and what that costs.

    python -m evaluation.detection --data ../shared/data
    python -m evaluation.detection --write        # docs/detectors.md, its chart, docs/accuracy.md

Measured is what is served: the file is read as small as the detector allows and searched for faces
from a smallest size on. Photographs are `crowds` (faces marked by people, bare and masked),
`natural` (streets, work, animals, things; half without any face) and `groups`. Faces count from 20
pixels and 5 % of the picture's longer side on; smaller and unsure ones count neither for nor
against. Detectors take turns on every photograph, so that a busy neighbour slows all of them alike.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure

from app.errors import ModelUnavailable
from app.vision.card import SINGLE_SHOT, write_card
from app.vision.classifier import Classifier
from app.vision.detectors import DETECTORS, Detector, default_min_face_px
from app.vision.detectors.whole_image import WholeImageDetector
from app.vision.folders import CARD_FILE, read_document
from app.vision.image import ImageFile
from app.vision.tiles import searched_side
from app.vision.types import Detection
from evaluation import plots
from evaluation.boxes import BoxScores, score_boxes
from evaluation.field import (
    FEWEST_PICTURES,
    MAX_PIXELS,
    macro,
    main_boxes,
    named_right,
    read_rasters,
    right_by_expression,
    served_scale,
)
from testbed.boxes import tally
from testbed.markdown import block, percent, renew, table
from training.data.photos import (
    MarkedFace,
    Photograph,
    PhotosError,
    Portrait,
    read_photographs,
    read_portraits,
)

COLLECTIONS = ("crowds", "natural", "groups")
SHARES = (0.05, 0.1)
FEWEST_PIXELS = 20
SMALLEST_SHARE = 0.05
SIZES = ((0.05, 0.1), (0.1, 0.2), (0.2, 1.01))  # of the longer side
BARE, MASKED = "bare", "masked"
MIN_IOUS = (0.5, 0.4)
PAGE, PICTURE = Path("docs/detectors.md"), Path("docs/detectors.png")
SUMMARY = Path("docs/accuracy.md")
_HEAD = """\
# Finding faces

Made by `make evaluate-detectors`; do not edit. {photographs} photographs, {empty} of them without
any face: `crowds` (faces marked by people), `natural` and `groups`. Counted are faces of at least
20 pixels and 5 % of the longer side; recall and its intervals (95 %, bootstrap over photographs)
are at IoU 0.4, and by size as a share of the longer side. Milliseconds are those of reading the
file and finding the faces, one thread.
"""
_END_TO_END = """\
## The whole service

On the {pictures} portraits of lfw-expressions' {split} split (the other one taught `single_shot` to
find faces): the share whose main face is found (IoU at least 0.4), and found *and* named right by
`{model}`; the mean over expressions that at least {fewest} show, and each.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """A detector and the smallest face that it is asked for, as a share of the longer side (or of
    twice the shorter side, see `default_min_face_px`)."""

    detector: str
    min_face_share: float

    def __str__(self) -> str:
        return f"{self.detector}, from {self.min_face_share:.0%}"

    @property
    def is_default(self) -> bool:
        """Whether it is what a request gets that does not say otherwise."""
        return self.min_face_share == DETECTORS[self.detector].min_face_share


@dataclass(frozen=True)
class Search:
    """What one setting found on one photograph, and its milliseconds, reading included."""

    photograph: Photograph
    longer_side: int
    detections: list[Detection]
    milliseconds: float

    def counted(
        self, face: MarkedFace, *, condition: str | None, shares: tuple[float, float] | None
    ) -> bool:
        """Whether a face has to be found, for figures of a condition and of a range of sizes."""
        side = face.box.longer_side
        if not face.sure or side < FEWEST_PIXELS or side < SMALLEST_SHARE * self.longer_side:
            return False
        if condition is not None and (face.condition not in ("", BARE)) == (condition == BARE):
            return False
        return shares is None or shares[0] <= side / self.longer_side < shares[1]


def ready(models_dir: Path) -> list[str]:
    """The detectors that search and whose weights exist. Prints the reason for each that cannot be
    used."""
    names = []
    for name, made in DETECTORS.items():
        if made is WholeImageDetector:
            continue
        try:
            made.load(models_dir)
            names.append(name)
        except ModelUnavailable as error:
            print(f"left out: {error}")
    return names


def search(
    photographs: Sequence[Photograph], settings: Sequence[Setting], models_dir: Path
) -> dict[Setting, list[Search]]:
    """Every setting on every photograph, by turns."""
    detectors: dict[str, Detector] = {
        each.detector: DETECTORS[each.detector].load(models_dir) for each in settings
    }
    searches: dict[Setting, list[Search]] = {each: [] for each in settings}
    for photograph in photographs:
        data = photograph.path.read_bytes()
        for setting in settings:
            detector = detectors[setting.detector]
            start = time.perf_counter()
            file = ImageFile(data, max_pixels=MAX_PIXELS)
            width, height = file.width, file.height
            min_face_px = default_min_face_px(setting.min_face_share, width, height)
            scale = min(1.0, detector.scale_for(searched_side(width, height), min_face_px))
            raster = file.read(scale=scale, color=detector.needs_color)
            detections = detector.detect(raster, min_face_px)
            took = 1000 * (time.perf_counter() - start)
            searches[setting].append(Search(photograph, file.longer_side, detections, took))
    return searches


def scores(
    searches: Sequence[Search],
    *,
    min_iou: float,
    condition: str | None = None,
    shares: tuple[float, float] | None = None,
) -> BoxScores:
    """Figures over photographs for the faces of a condition (BARE, MASKED or None for all) and of
    a range of sizes; other faces count neither for nor against."""
    return score_boxes(
        [
            tally(
                each.detections,
                each.photograph.faces,
                min_iou=min_iou,
                counts=partial(each.counted, condition=condition, shares=shares),
            )
            for each in searches
        ]
    )


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """Over the portraits of lfw-expressions, shares of all: main face found; found and named right;
    the same by expression."""

    pictures: int
    found: float
    right: float
    by_expression: dict[str, float]


def end_to_end(
    detectors: Sequence[str], classifier: Classifier, portraits: list[Portrait], models_dir: Path
) -> dict[str, EndToEnd]:
    """Every detector in front of the classifier, with the crop that is served."""
    rasters = read_rasters(portraits)
    results = {}
    for name in detectors:
        boxes = main_boxes(portraits, rasters, name, models_dir)
        scale = served_scale(classifier.card, name)
        hits = named_right(classifier, portraits, rasters, boxes, scale)
        results[name] = EndToEnd(
            pictures=len(portraits),
            found=float(np.mean([box is not None for box in boxes])),
            right=float(hits.mean()),
            by_expression=right_by_expression(hits, portraits, classifier.card.labels),
        )
    return results


def report(
    searches: dict[Setting, list[Search]],
    classifier: Classifier,
    whole: dict[str, EndToEnd],
    split: str,
) -> str:
    """docs/detectors.md: a summary, the whole service, then every figure."""
    photographs = [each.photograph for each in next(iter(searches.values()))]
    empty = sum(not photograph.faces for photograph in photographs)
    pictures = next(iter(whole.values())).pictures
    return "\n".join(
        [
            _HEAD.format(photographs=len(photographs), empty=empty),
            summary(searches),
            "",
            f"[![recall against milliseconds]({PICTURE.name})]({PICTURE.name})",
            "",
            _END_TO_END.format(
                pictures=pictures,
                split=split,
                model=classifier.card.name,
                fewest=FEWEST_PICTURES,
            ),
            whole_service(whole),
            "",
            "## Counts",
            "",
            counts(searches),
            "",
        ]
    )


def summary(searches: dict[Setting, list[Search]]) -> str:
    """A row a setting: bare faces at the looser IoU, by size, and false boxes where no face is."""
    sizes = [f"{low:.0%}–{min(high, 1):.0%}" for low, high in SIZES]
    head = ["detector", "recall, bare faces", "precision", "F1", "AP", "ECE of scores", *sizes]
    head += ["masked", "false boxes, no face", "ms median (mean)"]
    rows = []
    for setting, found in searches.items():
        bare = scores(found, min_iou=MIN_IOUS[-1], condition=BARE)
        masked = scores(found, min_iou=MIN_IOUS[-1], condition=MASKED)
        by_size = [
            scores(found, min_iou=MIN_IOUS[-1], condition=BARE, shares=shares) for shares in SIZES
        ]
        took = [each.milliseconds for each in found]
        rows.append(
            [
                str(setting),
                _ratio(bare.recall, bare.recall_interval),
                _ratio(bare.precision, bare.precision_interval),
                _share(bare.f1),
                _share(bare.average_precision),
                _share(bare.calibration_error),
                *(_share(each.recall) for each in by_size),
                _share(masked.recall),
                str(sum(len(each.detections) for each in found if not each.photograph.faces)),
                f"{np.median(took):.1f} ({np.mean(took):.1f})",
            ]
        )
    return table(head, rows)


def whole_service(whole: dict[str, EndToEnd]) -> str:
    """A row a detector: main faces found, and named right."""
    expressions = list(next(iter(whole.values())).by_expression)
    head = ["detector", "main face found", "found and named right", "macro", *expressions]
    return table(
        head,
        [
            [
                name,
                *map(percent, (each.found, each.right, macro(each.by_expression))),
                *map(percent, each.by_expression.values()),
            ]
            for name, each in whole.items()
        ],
    )


def counts(searches: dict[Setting, list[Search]]) -> str:
    """Counts of every setting, collection, condition and IoU."""
    head = ["detector", "photographs", "faces", "IoU", "TP", "FP", "FN"]
    head += ["precision", "recall", "F1", "AP"]
    rows = []
    for setting, found in searches.items():
        for collection in COLLECTIONS:
            of_it = [each for each in found if each.photograph.path.parts[-2] == collection]
            for condition in (BARE, MASKED) if collection == "crowds" else (BARE,):
                for min_iou in MIN_IOUS:
                    each = scores(of_it, min_iou=min_iou, condition=condition)
                    numbers = (each.true_positives, each.false_positives, each.false_negatives)
                    shares = (each.precision, each.recall, each.f1, each.average_precision)
                    rows.append(
                        [
                            *map(str, (setting, collection, condition, min_iou, *numbers)),
                            *map(_share, shares),
                        ]
                    )
    return table(head, rows)


def short(searches: dict[Setting, list[Search]], whole: dict[str, EndToEnd]) -> str:
    """The table of docs/accuracy.md: each detector with its defaults."""
    head = ["detector", "faces found", "boxes that are faces", "false boxes where none is"]
    head += ["found *and* named right", "ms a picture"]
    rows = []
    for setting, found in searches.items():
        if not setting.is_default:
            continue
        bare = scores(found, min_iou=MIN_IOUS[-1], condition=BARE)
        rows.append(
            [
                f"`{setting.detector}`",
                percent(bare.recall),
                percent(bare.precision),
                str(sum(len(each.detections) for each in found if not each.photograph.faces)),
                percent(whole[setting.detector].right),
                f"{np.median([each.milliseconds for each in found]):.0f}",
            ]
        )
    return table(head, rows)


def card_section(found: Sequence[Search], split: str) -> dict[str, Any]:
    """What goes on the card of a detector: figures of its default setting."""
    bare = scores(found, min_iou=MIN_IOUS[-1], condition=BARE)
    return {
        "data": f"photographs of {', '.join(COLLECTIONS)}, split {split}",
        "command": "make evaluate-detectors",
        "pictures": len(found),
        "protocol": f"bare faces of at least {FEWEST_PIXELS} pixels and {SMALLEST_SHARE:.0%} of "
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


def plot(searches: dict[Setting, list[Search]], path: Path) -> None:
    """Recall of bare faces with its interval against milliseconds a photograph, a point a
    setting."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for setting, found in searches.items():
        bare = scores(found, min_iou=MIN_IOUS[-1], condition=BARE)
        took = float(np.median([each.milliseconds for each in found]))
        low, high = bare.recall_interval
        around = [[bare.recall - low], [high - bare.recall]]
        label = f"{setting}: precision {_share(bare.precision)}"
        axes.errorbar([took], [bare.recall], yerr=around, fmt="o", capsize=3, label=label)
    axes.set(xlim=(0, None), ylim=(0, 1.02), xlabel="milliseconds a photograph, median")
    axes.set_ylabel(f"recall of bare faces, IoU {MIN_IOUS[-1]}")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False)
    plots.save(figure, path)


def _ratio(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{_share(value)} ({_share(low)}–{_share(high)})"


def _share(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--split", choices=["train", "val"], default="val")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--model", default="custom_net_8", help="names what is found")
    parser.add_argument("--detectors", choices=sorted(DETECTORS), nargs="+", help="all ready ones")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    parser.add_argument("--write", action="store_true", help=f"{PAGE}, its chart, {SUMMARY}")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    detectors = arguments.detectors or ready(arguments.models_dir)
    settings = [
        Setting(name, share)
        for name in detectors
        # A detector that looks for faces of any size does so whatever it is asked.
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
        portraits = read_portraits(photos, split=arguments.split)
        searches = search(photographs, settings, arguments.models_dir)
    except (PhotosError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error
    whole = end_to_end(detectors, classifier, portraits, arguments.models_dir)
    text = report(searches, classifier, whole, arguments.split)
    print(text)
    if arguments.write:
        # Keep the block that evaluation.shapes writes.
        shapes = block(PAGE.read_text("utf-8"), "shapes") if PAGE.exists() else ""
        PAGE.write_text(f"{text}\n{shapes}\n" if shapes else text, "utf-8")
        plot(searches, PICTURE)
        blocks = {"detectors": short(searches, whole)}
        SUMMARY.write_text(renew(SUMMARY.read_text("utf-8"), blocks), "utf-8")
        for setting, found in searches.items():
            folder = arguments.models_dir / setting.detector
            if not setting.is_default or not (folder / CARD_FILE).exists():
                continue
            document = read_document(folder)
            if document.get("kind") != SINGLE_SHOT:  # evaluation.single_shot measures the others
                section = {"evaluation": card_section(found, arguments.split)}
                write_card(folder, document | section)


if __name__ == "__main__":
    main()
