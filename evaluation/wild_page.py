"""The tables, the page and the card sections of evaluation.wild."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.vision.card import SINGLE_SHOT, write_card
from app.vision.folders import read_document
from evaluation import plots
from evaluation.field import MATCH_IOU
from evaluation.metrics import bootstrap_interval
from evaluation.named_faces import FEWEST_FACES, Outcome
from evaluation.speed import machine
from evaluation.systems import CLASSIFIER, System
from testbed.markdown import percent, renew, table
from training.ferplus_labels import LABELS

PAGE, SUMMARY = Path("docs/wild.md"), Path("docs/accuracy.md")
NOT_FOUND = "not found"
BOXES = "single_shot"  # whose boxes the other classifiers are measured with


def _interval(hits: NDArray[np.bool_]) -> str:
    if not len(hits):
        return "–"
    low, high = bootstrap_interval(hits)
    return f"{percent(float(hits.mean()))} ({percent(low)}–{percent(high)})"


def system_table(outcomes: dict[System, Outcome]) -> str:
    head = ["system", "faces", "found", "named right of those found (95 % interval)"]
    head += ["both readers sure", "macro", "found and named right", "ECE", "ms"]
    return table(
        head,
        [
            [
                str(system),
                str(len(each.asked)),
                percent(len(each.found) / len(each.asked)),
                _interval(each.hits),
                f"{percent(float(each.sure_hits.mean()))} of {len(each.sure_hits)}"
                if len(each.sure_hits)
                else "–",
                percent(each.macro).replace("nan %", "–"),
                percent(each.end_to_end),
                f"{each.calibration_error:.3f}",
                f"{each.milliseconds:.1f}",
            ]
            for system, each in outcomes.items()
        ],
    )


def emotion_table(each: Outcome) -> str:
    """A row for each emotion that any face shows."""
    head = ["emotion", "faces", "found", "named right of those found (95 % interval)", "precision"]
    rows = []
    for label, name in enumerate(LABELS):
        if count := each.faces(label):
            rows.append(
                [
                    name,
                    str(count),
                    str(len(each.hits_of(label))),
                    _interval(each.hits_of(label)),
                    percent(each.precision(label)).replace("nan %", "–"),
                ]
            )
    return table(head, rows)


def short_table(outcomes: dict[System, Outcome]) -> str:
    """The rows of docs/accuracy.md."""
    head = ["", "faces found", "named right of those found", "found and named right", "ms"]
    return table(
        head,
        [
            [
                str(system),
                percent(len(each.found) / len(each.asked)),
                percent(float(each.hits.mean())),
                percent(each.end_to_end),
                f"{each.milliseconds:.0f}",
            ]
            for system, each in outcomes.items()
        ],
    )


def card_section(each: Outcome, boxes: str) -> dict[str, Any]:
    """What goes on a card: figures of the faces that `boxes` finds."""
    present = [label for label in range(len(LABELS)) if each.faces(label)]
    low, high = bootstrap_interval(each.hits)
    return {
        "data": "Expression in-the-Wild, validation faces: web photographs, each face labelled by "
        "two independent readings of a vision-language model that agree; not labelled by people",
        "command": "make evaluate-wild",
        "boxes": boxes,
        "min_iou": MATCH_IOU,
        "faces": len(each.asked),
        "found": round(len(each.found) / len(each.asked), 4),
        "right_of_found": round(float(each.hits.mean()), 4),
        "right_of_found_interval_95": [round(low, 4), round(high, 4)],
        "right_where_both_readers_are_sure": round(float(each.sure_hits.mean()), 4),
        "macro": round(each.macro, 4),
        "found_and_named_right": round(each.end_to_end, 4),
        "expected_calibration_error": round(each.calibration_error, 4),
        "recall_of_found": {
            LABELS[label]: round(float(each.hits_of(label).mean()), 4)
            for label in present
            if len(each.hits_of(label))
        },
        "precision": {
            LABELS[label]: round(each.precision(label), 4)
            for label in present
            if not np.isnan(each.precision(label))
        },
        "faces_by_emotion": {LABELS[label]: each.faces(label) for label in present},
    }


_PAGE = """\
# Faces of web photographs

Made by `make evaluate-wild`; do not edit. {count} faces of web photographs (the collection
Expression in-the-Wild, validation split) that no model here was trained on: in colour, in every
pose, often with strong expressions. **Their labels are not by people**: a vision-language model
looked at each face twice, independently, and only faces count whose two readings agree. The
readings agree on about four faces of five, so no system can be expected to agree with them on every
face.

Everything is measured as it is served, one thread ({machine}), the systems by turns on every
photograph. A face is found when a box overlaps it with an IoU of at least {iou}. "Macro" is the
mean share named right of those found over the emotions with at least {fewest} faces. ECE is the
expected calibration error of the faces found, 15 bins. A system is asked about the faces whose
label its model knows.

{systems}

{sections}
## How a model is chosen

By the mean of two figures: accuracy on FER+ validation (majority protocol, unseen), and the mean of
"named right of those found" and "macro" above with the boxes of {boxes}. The faces here are never
learned from; choosing by them makes their figures a little flattering.
"""
_SECTION = """\
## {name}

{emotions}

[![confusion of {name}]({confusion})]({confusion}) [![reliability of {name}]({reliability})]\
({reliability})
"""


def pictures(system: System) -> tuple[Path, Path]:
    """The files of the confusion matrix and of the reliability diagram of a system."""
    stem = "wild-" + system.name.replace(" + ", "-").replace(" ", "-").replace("_", "-")
    return PAGE.with_name(f"{stem}-confusion.png"), PAGE.with_name(f"{stem}-reliability.png")


def shown(outcomes: dict[System, Outcome]) -> list[System]:
    """The systems with a section of their own: those that find most and the default one."""
    names = (f"haar + {CLASSIFIER}", f"{BOXES} + {CLASSIFIER}", f"{BOXES} + custom_net_5")
    return [
        system for system in outcomes if system.name in names or system.name == "single_shot alone"
    ]


def page(outcomes: dict[System, Outcome]) -> str:
    sections = [
        _SECTION.format(
            name=system,
            emotions=emotion_table(outcomes[system]),
            confusion=pictures(system)[0].name,
            reliability=pictures(system)[1].name,
        )
        for system in shown(outcomes)
    ]
    return _PAGE.format(
        count=max(len(each.asked) for each in outcomes.values()),
        machine=machine(),
        iou=MATCH_IOU,
        fewest=FEWEST_FACES,
        systems=system_table(outcomes),
        sections="\n".join(sections),
        boxes=BOXES,
    )


def write(outcomes: dict[System, Outcome], models: Path) -> None:
    """Write the page, its pictures, the table of docs/accuracy.md and the cards."""
    PAGE.write_text(page(outcomes), "utf-8")
    SUMMARY.write_text(renew(SUMMARY.read_text("utf-8"), {"wild": short_table(outcomes)}), "utf-8")
    for system in shown(outcomes):
        confusion, reliability = pictures(system)
        each = outcomes[system]
        plots.confusion(
            each.confusion, LABELS, confusion, str(system), predicted=(*LABELS, NOT_FOUND)
        )
        plots.reliability(each.probabilities, each.labels, reliability, str(system))
    for system, each in outcomes.items():
        options = system.options
        if options.detector == BOXES or options.pipeline:
            folder = models / (options.model or SINGLE_SHOT)
            boxes = options.model if options.pipeline else BOXES
            section = card_section(each, boxes or BOXES)
            write_card(folder, read_document(folder) | {"wild": section})
