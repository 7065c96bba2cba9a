"""Cards: what a model expects and means. A model is a folder with weights and card.json.

Each kind of models has a class of cards; kinds.py has the table of the kinds.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from marshmallow import ValidationError, fields, validate

from app.errors import InvalidCard, ModelUnavailable
from app.vision.card_schema import CardSchema, InputSchema, LabelsSchema
from app.vision.folders import (
    CARD_FILE,
    MAX_WEIGHTS_BYTES,
    printable,
    read_document,
    read_file,
)
from app.vision.types import ModelRef

MAX_PROBLEM = 500  # characters
CLASSIFIER, DETECTOR, SINGLE_SHOT = "classifier", "detector", "single_shot"


@dataclass(frozen=True, slots=True)
class Card:
    """The card of any weights. `document` is the whole card, as `GET /v1/models` shows it."""

    schema: ClassVar[type[CardSchema]] = CardSchema

    name: str
    version: str
    weights_file: str
    sha256: str
    document: dict[str, Any]

    @classmethod
    def parse(cls, document: Any) -> Self:
        """Check a card. Raises InvalidCard, which says which fields are wrong and why."""
        if not isinstance(document, dict):
            raise InvalidCard("a card must be a JSON object")
        schema = cls.schema()
        try:
            data = schema.load(document)
        except ValidationError as error:
            raise InvalidCard(f"the card is not valid: {_shortened(error.messages)}") from error
        return cls(**schema.arguments(data), document=document)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the card of a folder. Raises InvalidCard, also when the folder has another name."""
        card = cls.parse(read_document(folder))
        if card.name != folder.name:
            raise InvalidCard(
                f"the folder {printable(folder.name)!r} holds the card of {card.name!r}"
            )
        return card


@dataclass(frozen=True, slots=True)
class ModelCard(Card):
    """The card of a model that scores labels: see LabelsSchema."""

    schema: ClassVar[type[CardSchema]] = LabelsSchema

    labels: tuple[str, ...]
    exclusive: bool
    thresholds: tuple[float, ...] | None

    @property
    def ref(self) -> ModelRef:
        return ModelRef(self.name, self.version, self.sha256)


class _DetectorSchema(CardSchema):
    kind = fields.String(required=True, validate=validate.Equal(DETECTOR))
    input = fields.Nested(InputSchema, required=True)

    def arguments(self, data: dict[str, Any]) -> dict[str, Any]:
        return super().arguments(data) | {"input_size": data["input"]["size"]}


@dataclass(frozen=True, slots=True)
class DetectorCard(Card):
    """The card of a detector's weights. `input_size` is the side in pixels of the square that they
    take."""

    schema: ClassVar[type[CardSchema]] = _DetectorSchema

    input_size: int


def _shortened(messages: object) -> str:
    """The errors of a schema, cut to a length that fits into a response and a log line."""
    text = json.dumps(messages)
    return text if len(text) <= MAX_PROBLEM else f"{text[: MAX_PROBLEM - 1]}…"


def detector_folder(models_dir: Path, name: str, advice: str) -> Path:
    """The folder with the weights of a detector. Raises ModelUnavailable where there is none;
    `advice` says what the operator does then."""
    folder = models_dir / name
    if not (folder / CARD_FILE).exists():
        raise ModelUnavailable(f"the detector {name!r} has no weights here: the operator {advice}")
    return folder


def write_card(folder: Path, document: dict[str, Any]) -> None:
    """Put a card's document into a model folder."""
    (folder / CARD_FILE).write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def read_weights(folder: Path, card: Card) -> bytes:
    """The weights that `card` describes. Raises InvalidCard when they are missing or others."""
    try:
        data = read_file(folder / card.weights_file, MAX_WEIGHTS_BYTES)
    except FileNotFoundError as error:
        raise InvalidCard(f"model {card.name!r}: its weights are not installed") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidCard(f"model {card.name!r}: its weights cannot be read: {reason}") from error
    if hashlib.sha256(data).hexdigest() != card.sha256:
        raise InvalidCard(f"model {card.name!r}: its weights do not have the card's checksum")
    return data
