"""Measure the accuracy and calibration of classifiers on labelled faces.

    python -m evaluation.accuracy models/custom_net_8 --data ../shared/data/ferplus
    python -m evaluation.accuracy --write     # all models; writes their cards
    python -m evaluation.accuracy models/custom_net_8 --data /images --split test

The ONNX file runs with the code of the service (app.vision), under both protocols of FER+. `--data`
is any layout that training.data reads. Images of a class that the model does not know are left out.
"Unseen" leaves out images that are also in the training split of the data.
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
    precision_at,
)
from evaluation.metrics import Scores, expected_calibration_error, score
from training.data import SPLITS, DataError, Split, read_split
from training.ferplus_labels import LABELS, PROTOCOLS

MAIN = "majority"
CONFUSION_CHART, RELIABILITY_CHART = "confusion.png", "reliability.png"


@dataclass(frozen=True)
class Report:
    """Scores by protocol, and the probabilities of the main protocol.

    `labels` (n,) are indices into the labels of the card. `held_out` (n, classes) are probabilities
    with a temperature fitted on the other folds.
    """

    scores: dict[str, Scores]
    labels: NDArray[np.int64]
    held_out: NDArray[np.float64]

    @property
    def held_out_calibration_error(self) -> float:
        hits = self.held_out.argmax(axis=1) == self.labels
        return expected_calibration_error(self.held_out.max(axis=1), hits)


def evaluate(classifier: Classifier, data: Path, split: str) -> Report:
    """Classify every image of `split` whose class the model knows.

    Raises DataError if the data cannot be read or has no image of a known class.
    """
    size = classifier.card.input_size
    images = _read(data, split, size)
    logits = classifier.predict(images.crops)
    probabilities = classifier.postprocess(logits)
    subsets = {"": np.ones(len(images), dtype=bool)}
    if split != "train" and (seen := _training_digests(data)) is not None:
        subsets[", unseen"] = ~np.isin(images.digests, seen)
    # If every image has votes for one class only, the protocols are equal.
    one_label = ((images.votes > 0).sum(axis=1) == 1).all()
    protocols = {MAIN: PROTOCOLS[MAIN]} if one_label else PROTOCOLS
    truths = {
        protocol: _card_indices(rule(images.votes), classifier.card.labels)
        for protocol, rule in protocols.items()
    }
    scores = {}
    for protocol, labels in truths.items():
        if not (labels >= 0).any():
            raise DataError(f"{data} has no {split} image of a class of {classifier.card.name}")
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
    """The digests of the images of the training split, or None without a training split.

    Digests do not depend on the size of the crops.
    """
    try:
        return read_split(data, "train", size=1).digests
    except DataError:
        return None


def _card_indices(labels: NDArray[np.int64], names: tuple[str, ...]) -> NDArray[np.int64]:
    """Convert indices into LABELS to indices into `names`; -1 for a class that is missing there."""
    indices = [names.index(label) if label in names else -1 for label in LABELS]
    return np.array([*indices, -1])[labels]


def table(classifier: Classifier, report: Report) -> str:
    """Text with figures by protocol, by class with the confusion matrix, and the calibration."""
    lines = [
        f"{'protocol':<18}{'images':>9}{'accuracy':>10}{'95 % interval':>17}"
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
        f"(a perfectly calibrated model would have {noise_floor(report.held_out):.3f})",
        "precision by class and threshold (number of faces that reach it):",
        f"{'':<12}" + "".join(f"{threshold:>16}" for threshold in THRESHOLDS),
    ]
    columns = [precision_at(report.held_out, report.labels, each) for each in THRESHOLDS]
    for label, row in zip(labels, zip(*columns, strict=True), strict=True):
        cells = [f"{100 * at.precision:.1f}% ({at.faces})" if at else "– (0)" for at in row]
        lines.append(f"{label:<12}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def card_sections(
    classifier: Classifier, report: Report, folder: Path, data: Path, split: str
) -> dict[str, dict[str, Any]]:
    """The sections `evaluation` and `calibration` of the card in `folder`."""
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
        "note": "one view per image. Hyperparameters were chosen and the temperature was fitted on "
        "this split; accuracy on held-out data is usually 1 to 2 points lower",
    }
    calibration = {
        "method": "temperature scaling, fitted on the majority labels of the validation split",
        "folds": FOLDS,
        "expected_calibration_error_held_out": round(report.held_out_calibration_error, 4),
        "by_chance_alone": round(noise_floor(report.held_out), 4),
        "share_right_of_faces_shown_at_threshold": {
            str(threshold): {
                label: {"faces": at.faces, "share": round(at.precision, 4)} if at else None
                for label, at in zip(
                    labels, precision_at(report.held_out, report.labels, threshold), strict=True
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
    parser.add_argument("--write", action="store_true", help="write the cards and the charts")
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
    """Write the figures to the card, and the two charts into the folder of the model."""
    card = classifier.card
    write_card(folder, card.document | card_sections(classifier, report, folder, data, split))
    plots.confusion(report.scores[MAIN].confusion, card.labels, folder / CONFUSION_CHART, card.name)
    plots.reliability(
        report.held_out,
        report.labels,
        folder / RELIABILITY_CHART,
        f"{card.name}, held-out folds",
    )


if __name__ == "__main__":
    main()
