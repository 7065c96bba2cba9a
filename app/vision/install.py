"""Installs someone's own model beside the others, whole or not at all."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from app.errors import InvalidCard, ModelUnavailable
from app.vision.card import Card, write_card
from app.vision.folders import (
    MAX_CARD_BYTES,
    MAX_WEIGHTS_BYTES,
    WEIGHTS_FILE,
    parse_document,
    read_file,
)
from app.vision.kinds import kind_of


def install(weights_path: Path, card_path: Path, models_dir: Path) -> Card:
    """Copy weights and card to `models_dir`/<the card's name> after they were loaded and run.

    The card gets the file's name, size and SHA-256; a checksum that the card already has must be
    that of the file. Raises InvalidCard when the card is not valid, has another checksum or the
    name of a model that is already there; ModelUnavailable when the weights do not load, do not fit
    the card or return NaN.
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
    kind = kind_of(document.get("kind"))
    card = kind.card.parse(document)
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
            kind.loader.load(made)
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
