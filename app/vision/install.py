"""Put someone's own model among the others, whole or not at all."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.errors import InvalidCard, ModelUnavailable
from app.vision.card import (
    DETECTOR,
    SINGLE_SHOT,
    Card,
    parse_card,
    parse_detector_card,
    parse_single_shot_card,
    write_card,
)
from app.vision.classifier import Classifier
from app.vision.detectors import DETECTORS
from app.vision.folders import (
    MAX_CARD_BYTES,
    MAX_WEIGHTS_BYTES,
    WEIGHTS_FILE,
    parse_document,
    read_file,
)
from app.vision.single_shot import SingleShotNet

PARSERS: dict[Any, Callable[[Any], Card]] = {
    DETECTOR: parse_detector_card,
    SINGLE_SHOT: parse_single_shot_card,
}


def install(weights_path: Path, card_path: Path, models_dir: Path) -> Card:
    """Copy weights and card to `models_dir`/<the card's name> once they have been seen to work.

    The file's name, size and SHA-256 are recorded on the card; a checksum that the card already
    names must be the file's. Raises InvalidCard when the card is not one, names another checksum
    or a model that is there already, ModelUnavailable when the weights do not load, do not fit the
    card or answer NaN.
    """
    try:
        weights = read_file(weights_path, MAX_WEIGHTS_BYTES)
    except (OSError, ValueError) as error:
        raise ModelUnavailable(
            f"the weights {weights_path.name!r} cannot be read: {_reason(error)}"
        ) from error
    document = _read_document(card_path)
    digest = hashlib.sha256(weights).hexdigest()
    said = document.get("weights")
    said = said if isinstance(said, dict) else {}
    if said.get("sha256", digest) != digest:
        raise InvalidCard("the card's weights.sha256 is not the checksum of these weights")
    document["weights"] = said | {"file": WEIGHTS_FILE, "sha256": digest, "bytes": len(weights)}
    kind = document.get("kind")
    card = PARSERS.get(kind, parse_card)(document)
    if kind == DETECTOR and card.name not in DETECTORS:
        raise InvalidCard(f"no detector is called {card.name!r}; known: {', '.join(DETECTORS)}")
    folder = models_dir / card.name
    if os.path.lexists(folder):
        raise InvalidCard(f"there is a model {card.name!r} already; remove its folder first")
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=models_dir, prefix=".installing-") as workplace:
            made = Path(workplace) / card.name
            made.mkdir()
            (made / WEIGHTS_FILE).write_bytes(weights)
            write_card(made, document)
            if kind == DETECTOR:
                DETECTORS[card.name].load(Path(workplace))
            elif kind == SINGLE_SHOT:
                SingleShotNet.load(made)
            else:
                Classifier.load(made)
            made.rename(folder)
    except OSError as error:
        raise ModelUnavailable(f"the model cannot be installed: {_reason(error)}") from error
    return card


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _read_document(card_path: Path) -> dict[str, Any]:
    try:
        document = parse_document(read_file(card_path, MAX_CARD_BYTES))
    except (OSError, ValueError) as error:
        raise InvalidCard(
            f"the card {card_path.name!r} is no readable JSON file: {_reason(error)}"
        ) from error
    if not isinstance(document, dict):
        raise InvalidCard("a card must be a JSON object")
    return document
