"""ModelCard: what a model expects and means. A model is a folder with weights and card.json;
adding one needs no code."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validate

from app.errors import InvalidCard
from app.vision.types import ModelRef

CARD_FILE = "card.json"
WEIGHTS_FILE = "model.onnx"

_NAME = validate.Regexp(
    r"^[a-z0-9][a-z0-9_.-]{0,63}\Z", error="must be lower-case letters, digits and . _ -"
)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What serving needs of a card. `document` is all of it, as GET /v1/models shows it.

    `input_size` is the side in pixels of the square grey crop, `crop_scale` the side of that crop
    over the longer side of the detector's box, `temperature` the T of softmax(logits / T).
    """

    name: str
    version: str
    labels: tuple[str, ...]
    input_size: int
    crop_scale: float
    temperature: float
    weights_file: str
    sha256: str
    document: dict[str, Any]

    @property
    def ref(self) -> ModelRef:
        return ModelRef(self.name, self.version, self.sha256)


class _InputSchema(Schema):
    class Meta:
        unknown = EXCLUDE

    size = fields.Integer(required=True, strict=True, validate=validate.Range(8, 1024))


class _WeightsSchema(Schema):
    class Meta:
        unknown = EXCLUDE

    # A plain file name: weights lie in the card's own folder, nowhere else.
    file = fields.String(required=True, validate=validate.Regexp(r"^[\w][\w.-]*\.onnx\Z"))
    sha256 = fields.String(required=True, validate=validate.Regexp(r"^[0-9a-f]{64}\Z"))


class _CardSchema(Schema):
    """The fields that serving relies on; a card may say more and should."""

    class Meta:
        unknown = EXCLUDE

    name = fields.String(required=True, validate=_NAME)
    version = fields.String(required=True, validate=validate.Length(1, 32))
    labels = fields.List(
        fields.String(
            validate=[
                validate.Regexp(r"^[a-z][a-z0-9_]{0,63}\Z"),
                # The other keys of a face in the documented JSON.
                validate.NoneOf(["face_id", "bbox"]),
            ]
        ),
        required=True,
        validate=validate.Length(2, 64),
    )
    input = fields.Nested(_InputSchema, required=True)
    crop_scale = fields.Float(required=True, validate=validate.Range(0, 4, min_inclusive=False))
    temperature = fields.Float(required=True, validate=validate.Range(0, 100, min_inclusive=False))
    weights = fields.Nested(_WeightsSchema, required=True)
    licence = fields.String(required=True, validate=validate.Length(min=1))
    intended_use = fields.String(required=True, validate=validate.Length(min=1))

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if len(set(data["labels"])) != len(data["labels"]):
            raise ValidationError("labels must differ", "labels")
        return data


def parse_card(document: Any) -> ModelCard:
    """Check a card's JSON document. Raises InvalidCard saying which fields are wrong and why."""
    if not isinstance(document, dict):
        raise InvalidCard("a card must be a JSON object")
    try:
        data = _CardSchema().load(document)
    except ValidationError as error:
        raise InvalidCard(f"the card is not valid: {json.dumps(error.messages)}") from error
    return ModelCard(
        name=data["name"],
        version=data["version"],
        labels=tuple(data["labels"]),
        input_size=data["input"]["size"],
        crop_scale=data["crop_scale"],
        temperature=data["temperature"],
        weights_file=data["weights"]["file"],
        sha256=data["weights"]["sha256"],
        document=document,
    )


def read_card(folder: Path) -> ModelCard:
    """The card of a model folder. Raises InvalidCard, also when the folder has another name."""
    try:
        document = json.loads((folder / CARD_FILE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidCard(f"model {folder.name!r} has no readable {CARD_FILE}") from error
    card = parse_card(document)
    if card.name != folder.name:
        raise InvalidCard(f"the folder {folder.name!r} holds the card of {card.name!r}")
    return card


def write_card(folder: Path, document: dict[str, Any]) -> None:
    """Put a card's document into a model folder."""
    (folder / CARD_FILE).write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def read_weights(folder: Path, card: ModelCard) -> bytes:
    """The weights that `card` describes. Raises InvalidCard when they are missing or others."""
    try:
        data = (folder / card.weights_file).read_bytes()
    except OSError as error:
        raise InvalidCard(f"model {card.name!r}: its weights are not installed") from error
    if hashlib.sha256(data).hexdigest() != card.sha256:
        raise InvalidCard(f"model {card.name!r}: its weights do not have the card's checksum")
    return data
