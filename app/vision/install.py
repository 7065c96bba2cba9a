"""Installs a model into the models folder, completely or not at all."""

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
    """Load and run a model, and then copy weights and card to `models_dir`/<name in the card>.

    Writes the file name, the size and the SHA-256 of the weights into the card. If the card already
    has a checksum, the checksum must match the weights.

    Raises InvalidCard if the card is not valid, its checksum does not match the weights, or a model
    with its name is installed. Raises ModelUnavailable if the weights do not load, do not match the
    card, or return NaN or infinity.
    """
    try:
        weights = read_file(weights_path, MAX_WEIGHTS_BYTES)
    except (OSError, ValueError) as error:
        raise ModelUnavailable(
            f"the weights {weights_path.name!r} cannot be read: {_reason(error)}"
        ) from error
    document = _read_document(card_path)
    digest = hashlib.sha256(weights).hexdigest()
    declared = document.get("weights")
    declared = declared if isinstance(declared, dict) else {}
    if declared.get("sha256", digest) != digest:
        raise InvalidCard("weights.sha256 in the card is not the checksum of the weights")
    document["weights"] = declared | {
        "file": WEIGHTS_FILE,
        "sha256": digest,
        "bytes": len(weights),
    }
    kind = kind_of(document.get("kind"))
    card = kind.card.parse(document)
    folder = models_dir / card.name
    if os.path.lexists(folder):
        raise InvalidCard(
            f"a model {card.name!r} is already installed: remove the folder of the model first"
        )
    try:
        models_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=models_dir, prefix=".installing-") as temporary:
            staging = Path(temporary) / card.name
            staging.mkdir()
            (staging / WEIGHTS_FILE).write_bytes(weights)
            write_card(staging, document)
            kind.loader.load(staging)
            staging.rename(folder)
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
            f"the card {card_path.name!r} cannot be read as JSON: {_reason(error)}"
        ) from error
    if not isinstance(document, dict):
        raise InvalidCard("a card must be a JSON object")
    return document
