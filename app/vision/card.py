"""Model cards: card.json describes the input, the labels and the weights of a model.

A model is a folder with weights and card.json. Each kind of model has a card class; the table of
kinds is in kinds.py.
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

MAX_PROBLEM = 500  # maximum length of the message of InvalidCard, in characters
CLASSIFIER, DETECTOR, SINGLE_SHOT = "classifier", "detector", "single_shot"
DEFAULT_CLASSIFIER = "custom_net_8_int8"


@dataclass(frozen=True, slots=True)
class Card:
    """The fields common to all cards. `document` is the complete card; `GET /v1/models` returns
    it."""

    schema: ClassVar[type[CardSchema]] = CardSchema

    name: str
    version: str
    weights_file: str
    sha256: str
    document: dict[str, Any]

    @classmethod
    def parse(cls, document: Any) -> Self:
        """Validate a card. Raises InvalidCard, which names the invalid fields and the reasons."""
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
        """Read the card of a model folder. Raises InvalidCard if the card is invalid or the
        folder has a different name from the card."""
        card = cls.parse(read_document(folder))
        if card.name != folder.name:
            raise InvalidCard(
                f"the folder {printable(folder.name)!r} contains the card of {card.name!r}; both "
                "names must be the same"
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
    """The card of a detector's weights. `input_size` is the side in pixels of the square input."""

    schema: ClassVar[type[CardSchema]] = _DetectorSchema

    input_size: int


def _shortened(messages: object) -> str:
    """Convert the errors of a schema to text of at most MAX_PROBLEM characters."""
    text = json.dumps(messages)
    return text if len(text) <= MAX_PROBLEM else f"{text[: MAX_PROBLEM - 1]}…"


def detector_folder(models_dir: Path, name: str, advice: str) -> Path:
    """Return the folder with the weights of a detector. Raises ModelUnavailable if the folder is
    missing. `advice` tells the operator how to install the weights."""
    folder = models_dir / name
    if not (folder / CARD_FILE).exists():
        raise ModelUnavailable(
            f"the weights of the detector {name!r} are not installed: the operator must {advice}"
        )
    return folder


def write_card(folder: Path, document: dict[str, Any]) -> None:
    """Write a card into a model folder."""
    (folder / CARD_FILE).write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def read_weights(folder: Path, card: Card) -> bytes:
    """Read the weights that `card` describes. Raises InvalidCard if they are missing or cannot be
    read, or if their checksum differs from the card."""
    try:
        data = read_file(folder / card.weights_file, MAX_WEIGHTS_BYTES)
    except FileNotFoundError as error:
        raise InvalidCard(f"model {card.name!r}: the weights are not installed") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidCard(f"model {card.name!r}: the weights cannot be read: {reason}") from error
    if hashlib.sha256(data).hexdigest() != card.sha256:
        raise InvalidCard(
            f"model {card.name!r}: the checksum of the weights differs from the card: "
            "install the model again"
        )
    return data
