"""Write docs/models.md and the tables of README.md and docs/accuracy.md from the model cards.

    python -m evaluation.compare

Measures nothing: evaluation.accuracy, .field and .speed put the figures on the cards. A model that
lacks some, an operator's own for instance, is left out and named.
"""

import argparse
from pathlib import Path
from typing import Any

from app.errors import ModelUnavailable
from app.vision.classifier import ClassifierCard
from app.vision.kinds import model_folders
from evaluation.accuracy import CONFUSION_PICTURE, MAIN, RELIABILITY_PICTURE
from evaluation.calibration import THRESHOLDS
from testbed.markdown import percent, renew, table

PAGE = Path("docs/models.md")
SUMMARIES = (Path("README.md"), Path("docs/accuracy.md"))
DEFAULT = "custom_net_8"  # the model of the block "threshold"
SUMMARY_THRESHOLD = "0.5"
UNSEEN = f"{MAIN}, unseen"
FIGURES = ("training", "evaluation", "calibration", "field", "speed")
_HEAD = """\
# The models

Made by `make evaluate` from the models' cards; do not edit. What is measured is what is served: the
ONNX file through the service's own code, one view of each picture. Accuracy is on the FER+
*validation* split, which also chose settings: kept-back data usually reads one to two points lower.
"""


def lacking(card: ClassifierCard) -> list[str]:
    """The sections of figures that a card has not got."""
    return [name for name in FIGURES if name not in card.document]


def page(cards: list[ClassifierCard]) -> str:
    """The whole page, of cards that lack nothing."""
    return "\n".join([_HEAD, comparison(cards), _FOOT_NOTES, *map(section, cards)])


_FOOT_NOTES = """
Accuracy: majority protocol, without pictures that are also in the training split, with the 95 %
bootstrap interval. Macro recall: the mean over the emotions, rare ones counting as much as common
ones. ECE: expected calibration error, 15 bins, on held-out folds. In the field: portraits of
another data set, share found *and* named right, mean over five emotions, through the default
detector / with the faces' given boxes. Wild faces: faces of web photographs with the boxes of
single_shot, share of those found that is named right ([more](wild.md)). Speed: one thread, one
face at a time / a face in a batch of 32. Of published networks without extra data, VGG13 of the
FER+ paper reads 85.0 % on the test split, and the service that this one re-does 75.0 % (8
emotions) and 74.6 % (5) on validation.
"""


def comparison(cards: list[ClassifierCard]) -> str:
    head = ["model", "emotions", "parameters", "size", "accuracy", "macro recall", "ECE"]
    head += ["in the field", "wild faces", "ms a face", "load, memory"]
    rows = []
    for card in cards:
        document = card.document
        scores = document["evaluation"]["protocols"][UNSEEN]
        weights, speed = document["weights"], document["speed"]
        field = " / ".join(percent(each["macro"]) for each in document["field"]["boxes"].values())
        rows.append(
            [
                f"[`{card.name}`](#{card.name})",
                f"{len(card.labels)}",
                f"{weights['parameters'] / 1e6:.2f} M",
                f"{weights['bytes'] / 1e6:.1f} MB, {weights['precision']}",
                _accuracy(scores),
                percent(scores["macro_recall"]),
                f"{document['calibration']['expected_calibration_error_held_out']:.3f}",
                field,
                percent(document.get("wild", {}).get("right_of_found")),
                f"{speed['ms_a_face']:.2f} / {speed['ms_a_face_in_32']:.2f}",
                f"{speed['load_ms']:.0f} ms, {speed['resident_mb']:.0f} MB",
            ]
        )
    machines = sorted({card.document["speed"]["machine"] for card in cards})
    return table(head, rows) + f"\n\nSpeed and memory measured on: {', '.join(machines)}."


def section(card: ClassifierCard) -> str:
    """One model's card for people."""
    document = card.document
    training, evaluation = document["training"], document["evaluation"]
    lines = [
        f"## {card.name}",
        "",
        f"Version {card.version}, {len(card.labels)} emotions: {', '.join(card.labels)}.",
        "",
        f"- **For:** {document['intended_use']}",
        f"- **Not for:** {document['out_of_scope']}",
        f"- **Limits:** {document['limits']}",
        f"- **Licence:** {document['licence']}",
        f"- **Trained** on {training['pictures']:,} images: {training['data']}; targets: "
        f"{training['targets']}; {training['method']}; {training['epochs']} epochs in "
        f"{training['minutes']:.0f} minutes on {training['machine']} (`{training['command']}`).",
        f"- **Evaluated** on {evaluation['data']} (`{evaluation['command']}`): "
        f"{evaluation['note']}.",
        "",
    ]
    head = ["protocol", "pictures", "accuracy (95 % interval)", "macro recall", "macro F1", "ECE"]
    rows = [
        [
            name,
            f"{scores['pictures']:,}",
            _accuracy(scores),
            percent(scores["macro_recall"]),
            percent(scores["macro_f1"]),
            f"{scores['expected_calibration_error']:.3f}",
        ]
        for name, scores in evaluation["protocols"].items()
    ]
    lines += [table(head, rows), "", *_by_emotion(card), ""]
    source = f"../models/{card.name}"
    lines.append(
        " ".join(
            f"[![{what}]({source}/{file})]({source}/{file})"
            for what, file in (
                ("confusion matrix", CONFUSION_PICTURE),
                ("reliability diagram", RELIABILITY_PICTURE),
                ("learning curve", "curve.png"),
            )
        )
    )
    return "\n".join([*lines, ""])


def _by_emotion(card: ClassifierCard) -> list[str]:
    """Recall, precision, field, and what a threshold means, a row an emotion."""
    document = card.document
    scores = document["evaluation"]["protocols"][MAIN]
    shown = document["calibration"]["share_right_of_faces_shown_at_threshold"]
    fields = document["field"]["boxes"]
    head = ["emotion", "recall", "precision", *(f"field, {source}" for source in fields)]
    head += [f"shown at {threshold}" for threshold in THRESHOLDS]
    rows = []
    for label in card.labels:
        cells = [label, percent(scores["recall"][label]), percent(scores["precision"][label])]
        cells += [percent(each["right_by_expression"].get(label)) for each in fields.values()]
        for threshold in THRESHOLDS:
            at = shown[str(threshold)][label]
            cells.append(f"{percent(at['share'])} ({at['faces']})" if at else "–")
        rows.append(cells)
    return [
        "Of the faces *shown* at a threshold, the share that is that emotion (and how many there "
        "are), on held-out folds:",
        "",
        table(head, rows),
    ]


def _accuracy(scores: dict[str, Any]) -> str:
    low, high = scores["accuracy_interval_95"]
    return f"{percent(scores['accuracy'])} ({percent(low)}–{percent(high)})"


def summary(text: str, cards: list[ClassifierCard]) -> str:
    """Return `text` with its blocks "models" and "threshold" replaced."""
    default = next((card for card in cards if card.name == DEFAULT), None)
    blocks = {"models": _short_comparison(cards)}
    if default:
        blocks["threshold"] = _threshold(default)
    return renew(text, blocks)


def _short_comparison(cards: list[ClassifierCard]) -> str:
    head = ["model", "emotions", "size", "accuracy (95 % interval)", "macro recall"]
    head += ["accuracy on portraits", "ms per face"]
    rows = []
    for card in cards:
        document = card.document
        scores = document["evaluation"]["protocols"][UNSEEN]
        rows.append(
            [
                f"`{card.name}`",
                f"{len(card.labels)}",
                f"{document['weights']['bytes'] / 1e6:.1f} MB",
                _accuracy(scores),
                percent(scores["macro_recall"]),
                percent(document["field"]["boxes"]["haar"]["macro"]),
                f"{document['speed']['ms_a_face']:.1f}",
            ]
        )
    return table(head, rows)


def _threshold(card: ClassifierCard) -> str:
    calibration = card.document["calibration"]
    shown = calibration["share_right_of_faces_shown_at_threshold"][SUMMARY_THRESHOLD]
    by_label = {label: shown[label] or {"share": None, "faces": 0} for label in card.labels}
    rows = [[label, percent(at["share"]), f"{at['faces']}"] for label, at in by_label.items()]
    head = [f"emotion, `threshold={SUMMARY_THRESHOLD}`", "precision", "faces"]
    lines = [
        f"Expected calibration error on held-out folds, 15 bins: "
        f"{calibration['expected_calibration_error_held_out']:.3f}. A perfectly calibrated model "
        f"would have {calibration['by_chance_alone']:.3f} on a sample of this size.",
        "",
        table(head, rows),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="*", default=model_folders(Path("models")))
    arguments = parser.parse_args()
    try:
        cards = [ClassifierCard.read(folder) for folder in arguments.models]
    except ModelUnavailable as error:
        raise SystemExit(f"error: {error}") from error
    for card in cards:
        if lacking(card):
            print(f"left out {card.name}: its card has no {', '.join(lacking(card))}")
    whole = [card for card in cards if not lacking(card)]
    if not whole:
        raise SystemExit("error: no card has all the figures that the page shows")
    PAGE.write_text(page(whole), "utf-8")
    for path in SUMMARIES:
        path.write_text(summary(path.read_text("utf-8"), whole), "utf-8")
    print(f"wrote {PAGE} and the tables of {' and '.join(map(str, SUMMARIES))}")


if __name__ == "__main__":
    main()
