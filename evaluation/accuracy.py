"""How right models are on labelled faces, and what their probabilities mean: the served ONNX
through app.vision, in both of FER+'s protocols.

    python -m evaluation.accuracy models/custom_net_8 --data ../shared/data/ferplus
    python -m evaluation.accuracy --write     # of all models, and put it on their cards
    python -m evaluation.accuracy models/custom_net_8 --data /pictures --split test

`--data` is any layout that training.data reads. A model is asked about the pictures whose class it
knows. "Unseen" leaves out pictures that are also in the data's training split.
"""

import argparse
from dataclasses import dataclass
from functools import cache
from os.path import relpath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.errors import ModelUnavailable
from app.vision.card import write_card
from app.vision.classifier import Classifier
from app.vision.kinds import model_folders
from evaluation import plots
from evaluation.calibration import (
    FOLDS,
    THRESHOLDS,
    held_out_probabilities,
    noise_floor,
    shown_at,
)
from evaluation.metrics import Scores, expected_calibration_error, score
from training.data import SPLITS, DataError, Split, read_split
from training.votes import LABELS, PROTOCOLS

MAIN = "majority"
CONFUSION_PICTURE, RELIABILITY_PICTURE = "confusion.png", "reliability.png"


@dataclass(frozen=True)
class Report:
    """Scores by protocol, and of the main one: `labels` (n,) as indices into the card's, and
    `held_out` (n, classes), the probabilities with a temperature fitted on the other folds."""

    scores: dict[str, Scores]
    labels: NDArray[np.int64]
    held_out: NDArray[np.float64]

    @property
    def held_out_calibration_error(self) -> float:
        hits = self.held_out.argmax(axis=1) == self.labels
        return expected_calibration_error(self.held_out.max(axis=1), hits)


def evaluate(classifier: Classifier, data: Path, split: str) -> Report:
    """Ask `classifier` about every picture of `split` whose class it knows.

    Raises DataError, also when it knows none of the classes.
    """
    size = classifier.card.input_size
    pictures = _read(data, split, size)
    logits = classifier.predict(pictures.crops)
    probabilities = classifier.postprocess(logits)
    subsets = {"": np.ones(len(pictures), dtype=bool)}
    if split != "train" and (seen := _training_digests(data)) is not None:
        subsets[", unseen"] = ~np.isin(pictures.digests, seen)
    # Where every picture has votes for one class only, the protocols are the same.
    one_label = ((pictures.votes > 0).sum(axis=1) == 1).all()
    protocols = {MAIN: PROTOCOLS[MAIN]} if one_label else PROTOCOLS
    truths = {
        protocol: _as_the_card_counts(rule(pictures.votes), classifier.card.labels)
        for protocol, rule in protocols.items()
    }
    scores = {}
    for protocol, labels in truths.items():
        if not (labels >= 0).any():
            raise DataError(f"{data} holds no {split} picture of {classifier.card.name}'s classes")
        for name, chosen in subsets.items():
            keep = chosen & (labels >= 0)
            scores[protocol + name] = score(probabilities[keep], labels[keep])
    labels, keep = truths[MAIN], truths[MAIN] >= 0
    return Report(scores, labels[keep], held_out_probabilities(logits[keep], labels[keep]))


@cache
def _read(data: Path, split: str, size: int) -> Split:
    """Read a split once for all models that take crops of `size`."""
    return read_split(data, split, size=size)


@cache
def _training_digests(data: Path) -> NDArray[np.str_] | None:
    """The digests of the training split, which do not depend on the size of the crops; None for
    data without a training split."""
    try:
        return read_split(data, "train", size=1).digests
    except DataError:
        return None


def _as_the_card_counts(labels: NDArray[np.int64], names: tuple[str, ...]) -> NDArray[np.int64]:
    """Indices into the card's labels for indices into LABELS; -1 for a class it does not know."""
    places = [names.index(label) if label in names else -1 for label in LABELS]
    return np.array([*places, -1])[labels]


def table(classifier: Classifier, report: Report) -> str:
    """A row a protocol, then recall and precision by class with the confusion, then calibration."""
    lines = [
        f"{'protocol':<18}{'pictures':>9}{'accuracy':>10}{'95 % interval':>17}"
        f"{'macro recall':>14}{'macro F1':>10}{'ECE':>8}"
    ]
    for name, found in report.scores.items():
        low, high = found.accuracy_interval
        lines.append(
            f"{name:<18}{found.count:>9}{100 * found.accuracy:>9.2f}%"
            f"{100 * low:>9.2f}–{100 * high:.2f}{100 * found.macro_recall:>13.2f}%"
            f"{100 * found.macro_f1:>9.2f}%{found.calibration_error:>8.3f}"
        )
    main = report.scores[MAIN]
    labels = classifier.card.labels
    lines += ["", f"{MAIN:<12}{'recall':>8}{'precision':>11}   truth ↓ predicted →"]
    lines.append(" " * 34 + "".join(f"{label[:6]:>8}" for label in labels))
    for index, label in enumerate(labels):
        counts = "".join(f"{count:>8}" for count in main.confusion[index])
        lines.append(
            f"{label:<12}{100 * main.recall[index]:>7.1f}%"
            f"{100 * main.precision[index]:>10.1f}%    {counts}"
        )
    lines += [
        "",
        f"calibration on held-out folds: ECE {report.held_out_calibration_error:.3f} "
        f"(a perfectly calibrated model shows {noise_floor(report.held_out):.3f} by chance)",
        "of the faces shown as … at a threshold, the share that is (and how many are shown):",
        f"{'':<12}" + "".join(f"{threshold:>16}" for threshold in THRESHOLDS),
    ]
    columns = [shown_at(report.held_out, report.labels, each) for each in THRESHOLDS]
    for label, row in zip(labels, zip(*columns, strict=True), strict=True):
        cells = [f"{100 * at.precision:.1f}% ({at.faces})" if at else "– (0)" for at in row]
        lines.append(f"{label:<12}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def card_sections(
    classifier: Classifier, report: Report, folder: Path, data: Path, split: str
) -> dict[str, dict[str, Any]]:
    """What goes on the card in `folder`: `evaluation` and `calibration`."""
    labels = classifier.card.labels

    def by_label(values: NDArray[np.float64]) -> dict[str, float | None]:
        return {
            label: None if np.isnan(value) else round(float(value), 4)
            for label, value in zip(labels, values, strict=True)
        }

    evaluation = {
        "data": f"{data.name}, split {split}",
        "command": f"make evaluate MODELS={relpath(folder)}",
        "protocols": {
            name: {
                "pictures": found.count,
                "accuracy": round(found.accuracy, 4),
                "accuracy_interval_95": [round(end, 4) for end in found.accuracy_interval],
                "macro_recall": round(found.macro_recall, 4),
                "macro_f1": round(found.macro_f1, 4),
                "expected_calibration_error": round(found.calibration_error, 4),
                "recall": by_label(found.recall),
                "precision": by_label(found.precision),
            }
            for name, found in report.scores.items()
        },
        "note": "single view. The settings were chosen and the temperature was fitted on this "
        "split; a kept-back test split usually reads 1 to 2 points lower",
    }
    calibration = {
        "method": "temperature scaling, fitted on the validation split's majority labels",
        "folds": FOLDS,
        "expected_calibration_error_held_out": round(report.held_out_calibration_error, 4),
        "by_chance_alone": round(noise_floor(report.held_out), 4),
        "share_right_of_faces_shown_at_threshold": {
            str(threshold): {
                label: {"faces": at.faces, "share": round(at.precision, 4)} if at else None
                for label, at in zip(
                    labels, shown_at(report.held_out, report.labels, threshold), strict=True
                )
            }
            for threshold in THRESHOLDS
        },
    }
    return {"evaluation": evaluation, "calibration": calibration}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="*", default=model_folders(Path("models")))
    parser.add_argument("--data", type=Path, default=Path("../shared/data/ferplus"))
    parser.add_argument("--split", choices=SPLITS, default="valid")
    parser.add_argument("--write", action="store_true", help="put figures and pictures beside it")
    arguments = parser.parse_args()
    try:
        for folder in arguments.models:
            classifier = Classifier.load(folder)
            report = evaluate(classifier, arguments.data, arguments.split)
            card = classifier.card
            print(f"{card.name} {card.version}, {arguments.split} split, single view")
            print(table(classifier, report), end="\n\n", flush=True)
            if arguments.write:
                write(classifier, report, folder, arguments.data, arguments.split)
    except (DataError, ModelUnavailable) as error:
        raise SystemExit(f"error: {error}") from error


def write(classifier: Classifier, report: Report, folder: Path, data: Path, split: str) -> None:
    """Put the figures on the card and the two pictures beside it."""
    card = classifier.card
    write_card(folder, card.document | card_sections(classifier, report, folder, data, split))
    plots.confusion(
        report.scores[MAIN].confusion, card.labels, folder / CONFUSION_PICTURE, card.name
    )
    plots.reliability(
        report.held_out,
        report.labels,
        folder / RELIABILITY_PICTURE,
        f"{card.name}, held-out folds",
    )


if __name__ == "__main__":
    main()
