"""How right a model folder is on FER+: the served ONNX through app.vision, both protocols.

    python -m evaluation.accuracy models/custom_net_8 --data ../shared/data/ferplus
    python -m evaluation.accuracy models/custom_net_8 --write      # and put it on the card

Needs no torch. "Unseen" leaves out validation pictures that are also in the training split.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from app.vision.card import write_card
from app.vision.classifier import Classifier
from evaluation.metrics import Scores, score
from training import ferplus

PROTOCOLS = {"majority": ferplus.majority, "all": ferplus.most_voted}


def evaluate(classifier: Classifier, data: Path, split: str) -> dict[str, Scores]:
    """Scores by protocol, on all pictures of `split` and on those not in the training split.

    Raises FerPlusError.
    """
    size = classifier.card.input_size
    pictures = ferplus.read_split(ferplus.split_path(data, split), size=size)
    seen = ferplus.read_split(ferplus.split_path(data, "FER2013Train"), size=size)
    unseen = ~np.isin(pictures.digests, seen.digests)
    probabilities = classifier.postprocess(classifier.predict(pictures.crops))
    scores = {}
    for protocol, rule in PROTOCOLS.items():
        labels = rule(pictures.votes)
        for name, chosen in (
            (protocol, labels >= 0),
            (f"{protocol}, unseen", (labels >= 0) & unseen),
        ):
            scores[name] = score(probabilities[chosen], labels[chosen])
    return scores


def milliseconds_a_face(classifier: Classifier, *, rounds: int = 300) -> float:
    """Median time of one crop through the session, batch 1."""
    size = classifier.card.input_size
    crop = np.random.default_rng(0).integers(0, 256, (1, size, size), np.uint8)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        classifier.predict(crop)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def table(classifier: Classifier, scores: dict[str, Scores]) -> str:
    """The report: a row a protocol, then recall and precision by class, then the confusion."""
    lines = [
        f"{'protocol':<18}{'pictures':>9}{'accuracy':>10}{'95 % interval':>17}"
        f"{'macro recall':>14}{'macro F1':>10}{'ECE':>8}"
    ]
    for name, found in scores.items():
        low, high = found.accuracy_interval
        lines.append(
            f"{name:<18}{found.count:>9}{100 * found.accuracy:>9.2f}%"
            f"{100 * low:>9.2f}–{100 * high:.2f}{100 * found.macro_recall:>13.2f}%"
            f"{100 * found.macro_f1:>9.2f}%{found.calibration_error:>8.3f}"
        )
    main = scores["majority"]
    labels = classifier.card.labels
    lines += ["", f"majority    {'recall':>8}{'precision':>11}   truth ↓ predicted →"]
    lines.append(" " * 34 + "".join(f"{label[:6]:>8}" for label in labels))
    for index, label in enumerate(labels):
        counts = "".join(f"{count:>8}" for count in main.confusion[index])
        lines.append(
            f"{label:<12}{100 * main.recall[index]:>7.1f}%"
            f"{100 * main.precision[index]:>10.1f}%    {counts}"
        )
    return "\n".join(lines)


def card_section(classifier: Classifier, scores: dict[str, Scores], split: str) -> dict[str, Any]:
    labels = classifier.card.labels
    return {
        "split": f"FER+ {split.removeprefix('FER2013').lower()}",
        "command": f"make evaluate MODEL={classifier.card.name}",
        "protocols": {
            name: {
                "pictures": found.count,
                "accuracy": round(found.accuracy, 4),
                "accuracy_interval_95": [round(end, 4) for end in found.accuracy_interval],
                "macro_recall": round(found.macro_recall, 4),
                "macro_f1": round(found.macro_f1, 4),
                "expected_calibration_error": round(found.calibration_error, 4),
                "recall": {
                    label: None if np.isnan(value) else round(float(value), 4)
                    for label, value in zip(labels, found.recall, strict=True)
                },
            }
            for name, found in scores.items()
        },
        "note": "temperature fitted and epochs watched on this split; its calibration error is "
        "therefore a little flattering, and a kept-back test split reads 1 to 2 points lower",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/ferplus"))
    parser.add_argument("--split", default="FER2013Valid")
    parser.add_argument("--write", action="store_true", help="put the figures on the card")
    arguments = parser.parse_args()
    classifier = Classifier.load(arguments.model)
    try:
        scores = evaluate(classifier, arguments.data, arguments.split)
    except ferplus.FerPlusError as error:
        raise SystemExit(f"error: {error}") from error
    print(f"{classifier.card.name} {classifier.card.version}, {arguments.split}, single view")
    print(table(classifier, scores))
    print(f"\n{milliseconds_a_face(classifier):.2f} ms a face (median, batch 1, one thread)")
    if arguments.write:
        document = classifier.card.document
        document["evaluation"] = card_section(classifier, scores, arguments.split)
        write_card(arguments.model, document)


if __name__ == "__main__":
    main()
