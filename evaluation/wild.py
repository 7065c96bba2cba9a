"""Faces of web photographs that no system was trained on: how many are found and named right.

    python -m evaluation.wild --data ../shared/data
    python -m evaluation.wild --write      # docs/wild.md, its pictures, docs/accuracy.md, cards

Every photograph goes through app.vision.engine as it is served, the systems by turns: each detector
with the default classifier behind it, single_shot's boxes with every other classifier, and
single_shot alone. A face is found when a box overlaps it with an IoU of at least MATCH_IOU; of
several boxes the one that overlaps it most counts. Faces are those of the validation split whose
two readings agree. A system is asked about the faces whose label its model knows.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import ModelUnavailable
from app.vision.card import SINGLE_SHOT, write_card
from app.vision.engine import Engine
from app.vision.folders import read_document
from app.vision.kinds import model_folders
from app.vision.request import AnalysisOptions
from app.vision.types import Box, Face
from evaluation import plots
from evaluation.detection import ready
from evaluation.expressions import Shot
from evaluation.field import MATCH_IOU
from evaluation.metrics import bootstrap_interval, expected_calibration_error
from evaluation.speed import machine
from evaluation.systems import (
    CLASSIFIER,
    DETECTORS,
    System,
    one_pass_systems,
    served_engine,
    shots,
)
from testbed.boxes import iou
from testbed.markdown import percent, renew, table
from training.data.split import DataError
from training.data.wild import WildFace, read_wild
from training.votes import LABELS

PAGE, SUMMARY = Path("docs/wild.md"), Path("docs/accuracy.md")
NOT_FOUND = "not found"
FEWEST_FACES = 12  # of an emotion that counts in the macro share
BOXES = "single_shot"  # whose boxes the other classifiers are measured with


@dataclass(frozen=True)
class Asked:
    """One face that a system was asked about: its label as an index into LABELS, whether both
    readers were sure, and the probabilities (8,) of the box that found it, None where none did."""

    label: int
    sure: bool
    answer: NDArray[np.float64] | None


@dataclass(frozen=True)
class Outcome:
    """What a system made of the faces that it was asked about, and its median milliseconds for a
    photograph."""

    asked: tuple[Asked, ...]
    milliseconds: float

    @property
    def found(self) -> list[Asked]:
        return [each for each in self.asked if each.answer is not None]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of the faces that were found (n,)."""
        return np.array([each.label for each in self.found], dtype=np.int64)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Of the faces that were found (n, 8)."""
        answers = [each.answer for each in self.found if each.answer is not None]
        return np.array(answers, dtype=float).reshape(-1, len(LABELS))

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Which of the faces that were found are named right (n,)."""
        right: NDArray[np.bool_] = self.probabilities.argmax(axis=1) == self.labels
        return right

    @property
    def sure_hits(self) -> NDArray[np.bool_]:
        """The same of the faces of which both readers were sure."""
        sure = np.array([each.sure for each in self.found], dtype=bool)
        return np.asarray(self.hits[sure], dtype=bool)

    def hits_of(self, label: int) -> NDArray[np.bool_]:
        """Which of the found faces that show this emotion are named right (m,)."""
        return np.asarray(self.hits[self.labels == label], dtype=bool)

    def faces(self, label: int) -> int:
        return sum(each.label == label for each in self.asked)

    def precision(self, label: int) -> float:
        """The share of the found faces with this answer that show it, NaN where there are none."""
        named = self.probabilities.argmax(axis=1) == label
        return float(self.hits[named].mean()) if named.any() else float("nan")

    @property
    def macro(self) -> float:
        """The mean share named right of those found, over emotions with FEWEST_FACES faces."""
        shares = [
            self.hits_of(label).mean()
            for label in range(len(LABELS))
            if self.faces(label) >= FEWEST_FACES and len(self.hits_of(label))
        ]
        return float(np.mean(shares)) if shares else float("nan")

    @property
    def end_to_end(self) -> float:
        return float(self.hits.sum() / len(self.asked))

    @property
    def calibration_error(self) -> float:
        return expected_calibration_error(self.probabilities.max(axis=1), self.hits)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts (8, 9) of truth by answer; the last column counts faces that were not found."""
        matrix = np.zeros((len(LABELS), len(LABELS) + 1), dtype=np.int64)
        for each in self.asked:
            answer = len(LABELS) if each.answer is None else int(each.answer.argmax())
            matrix[each.label, answer] += 1
        return matrix


def outcome(found: Sequence[Shot], faces: Sequence[Sequence[WildFace]]) -> Outcome:
    """What the photographs of one system say of their labelled faces, as many `found` as `faces`.

    Raises DataError where its model knows none of the labels.
    """
    asked = []
    for shot, its in zip(found, faces, strict=True):
        for face in its:
            label = LABELS.index(face.agreed or "")
            asked.append(Asked(label, face.sure, _answer(shot.analysis.faces, face.box)))
    known = _known(found)
    asked = [each for each in asked if LABELS[each.label] in known]
    if not asked:
        raise DataError("no face has a label that the model knows")
    return Outcome(tuple(asked), float(np.median([shot.milliseconds for shot in found])))


def _answer(boxes: Sequence[Face], box: Box) -> NDArray[np.float64] | None:
    """The probabilities (8,) of the box that overlaps `box` most, None where none does enough."""
    overlaps = [iou(each.box, box) for each in boxes]
    if max(overlaps, default=0.0) < MATCH_IOU:
        return None
    best = boxes[int(np.argmax(overlaps))]
    return np.array([best.emotions.get(label, 0.0) for label in LABELS])


def _known(found: Sequence[Shot]) -> set[str]:
    """The emotions of the model, of the first face that it named; all where it named none."""
    faces = (face for shot in found for face in shot.analysis.faces)
    first = next(faces, None)
    return set(first.emotions) if first else set(LABELS)


def systems(
    detectors: Sequence[str], classifiers: Sequence[str], networks: Sequence[str] = (SINGLE_SHOT,)
) -> list[System]:
    """Each detector with the default classifier, BOXES with the other classifiers, and each
    one-pass network alone."""
    pairs = [(name, CLASSIFIER) for name in detectors]
    if BOXES in detectors:
        pairs += [(BOXES, name) for name in classifiers if name != CLASSIFIER]
    return [
        *(
            System(f"{box} + {name}", AnalysisOptions(detector=box, model=name))
            for box, name in pairs
        ),
        *one_pass_systems(networks),
    ]


def measure(engine: Engine, asked: Sequence[System], data: Path) -> dict[System, Outcome]:
    """Every system on every photograph with a labelled validation face. Raises DataError."""
    by_path: dict[Path, list[WildFace]] = {}
    for face in read_wild(data, "val"):
        if face.agreed:
            by_path.setdefault(face.path, []).append(face)
    if not by_path:
        raise DataError(f"{data} holds no labelled validation face")
    made = shots(engine, asked, (path.read_bytes() for path in by_path))
    return {system: outcome(its, list(by_path.values())) for system, its in made.items()}


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
            own_boxes = options.pipeline and options.model
            section = card_section(each, own_boxes or BOXES)
            write_card(folder, read_document(folder) | {"wild": section})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--detectors", nargs="+", help=f"of {DETECTORS} all that are ready")
    parser.add_argument("--models", nargs="+", help="classifiers, all unless given")
    parser.add_argument("--write", action="store_true", help=f"{PAGE}, its pictures and the cards")
    arguments = parser.parse_args()
    usable = ready(arguments.models_dir)
    detectors = arguments.detectors or [name for name in DETECTORS if name in usable]
    names = arguments.models or [each.name for each in model_folders(arguments.models_dir)]
    engine = served_engine(arguments.models_dir)
    try:
        networks = [each.name for each in model_folders(arguments.models_dir, SINGLE_SHOT)]
        outcomes = measure(engine, systems(detectors, names, networks), arguments.data)
    except (DataError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error
    print(page(outcomes))
    if arguments.write:
        write(outcomes, arguments.models_dir)


if __name__ == "__main__":
    main()
