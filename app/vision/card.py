"""ModelCard: what a model expects and means. A model is a folder with weights and card.json;
adding one needs no code."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validate

from app.errors import InvalidCard, ModelUnavailable
from app.vision.folders import (
    CARD_FILE,
    MAX_WEIGHTS_BYTES,
    list_folders,
    printable,
    read_document,
    read_file,
    read_kind,
)
from app.vision.types import ModelRef

MAX_PROBLEM = 500  # characters
COARSEST_STRIDE = 32  # of the cells of a network that finds and names
CLASSIFIER, DETECTOR, SINGLE_SHOT = "classifier", "detector", "single_shot"

AnyCard = TypeVar("AnyCard", bound="Card")

_NAME = validate.Regexp(
    r"^[a-z0-9][a-z0-9_.-]{0,63}\Z", error="must be lower-case letters, digits and . _ -"
)


@dataclass(frozen=True, slots=True)
class Card:
    """What any weights come with. `document` is all of it, `input_sizes` the sides in pixels of the
    squares that they are served at, the smallest first."""

    name: str
    version: str
    input_sizes: tuple[int, ...]
    weights_file: str
    sha256: str
    document: dict[str, Any]

    @property
    def input_size(self) -> int:
        """The largest side."""
        return self.input_sizes[-1]


@dataclass(frozen=True, slots=True)
class ModelCard(Card):
    """What serving needs of the card of a network that names emotions, whose `document`
    GET /v1/models shows. `temperature` is the T of softmax(logits / T)."""

    labels: tuple[str, ...]
    temperature: float

    @property
    def ref(self) -> ModelRef:
        return ModelRef(self.name, self.version, self.sha256)


@dataclass(frozen=True, slots=True)
class ClassifierCard(ModelCard):
    """`crop_scale` is the side of the square grey crop over the longer side of the detector's
    box."""

    crop_scale: float


@dataclass(frozen=True, slots=True)
class SingleShotCard(ModelCard):
    """sigmoid(`score_scale` · logit + `score_bias`) is how probably a box holds a face."""

    score_scale: float
    score_bias: float


class _InputSchema(Schema):
    class Meta:
        unknown = EXCLUDE

    size = fields.Integer(required=True, strict=True, validate=validate.Range(8, 1024))


def _whole_cells(size: int) -> None:
    if size % COARSEST_STRIDE:
        raise ValidationError(f"must be a multiple of {COARSEST_STRIDE}")


class _InputsSchema(Schema):
    class Meta:
        unknown = EXCLUDE

    sizes = fields.List(
        fields.Integer(
            strict=True,
            validate=[validate.Range(64, 2048), _whole_cells],
        ),
        required=True,
        validate=validate.Length(1, 4),
    )


class _ScoreSchema(Schema):
    class Meta:
        unknown = EXCLUDE

    scale = fields.Float(required=True, validate=validate.Range(0.01, 100))
    bias = fields.Float(required=True, validate=validate.Range(-100, 100))


class _WeightsSchema(Schema):
    class Meta:
        unknown = EXCLUDE

    # A plain file name: weights lie in the card's own folder, nowhere else.
    file = fields.String(required=True, validate=validate.Regexp(r"^[\w][\w.-]*\.onnx\Z"))
    sha256 = fields.String(required=True, validate=validate.Regexp(r"^[0-9a-f]{64}\Z"))


def _printable(text: str) -> None:
    if not text.isprintable():
        raise ValidationError("must be printable characters")


class _CardSchema(Schema):
    """The fields that serving relies on; a card may say more and should."""

    class Meta:
        unknown = EXCLUDE

    name = fields.String(required=True, validate=_NAME)
    version = fields.String(required=True, validate=[validate.Length(1, 32), _printable])
    input = fields.Nested(_InputSchema, required=True)
    weights = fields.Nested(_WeightsSchema, required=True)
    licence = fields.String(required=True, validate=validate.Length(min=1))
    intended_use = fields.String(required=True, validate=validate.Length(min=1))


class _DetectorSchema(_CardSchema):
    kind = fields.String(required=True, validate=validate.Equal(DETECTOR))


class _ModelSchema(_CardSchema):
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
    temperature = fields.Float(required=True, validate=validate.Range(0.01, 100))

    @post_load
    def make(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if len(set(data["labels"])) != len(data["labels"]):
            raise ValidationError("labels must differ", "labels")
        return data


class _ClassifierSchema(_ModelSchema):
    kind = fields.String(validate=validate.OneOf([CLASSIFIER, DETECTOR]))
    crop_scale = fields.Float(required=True, validate=validate.Range(0, 4, min_inclusive=False))


class _SingleShotSchema(_ModelSchema):
    kind = fields.String(required=True, validate=validate.Equal(SINGLE_SHOT))
    input = fields.Nested(_InputsSchema, required=True)
    score = fields.Nested(_ScoreSchema, required=True)


def parse_card(document: Any) -> ClassifierCard:
    """Check a classifier's card. Raises InvalidCard saying which fields are wrong and why."""
    data = _load(_ClassifierSchema(), document)
    return ClassifierCard(
        **_common(data, document),
        labels=tuple(data["labels"]),
        temperature=data["temperature"],
        crop_scale=data["crop_scale"],
    )


def parse_single_shot_card(document: Any) -> SingleShotCard:
    """Check the card of a network that finds and names. Raises InvalidCard likewise."""
    data = _load(_SingleShotSchema(), document)
    return SingleShotCard(
        **_common(data, document),
        labels=tuple(data["labels"]),
        temperature=data["temperature"],
        score_scale=data["score"]["scale"],
        score_bias=data["score"]["bias"],
    )


def parse_detector_card(document: Any) -> Card:
    """Check the card of a detector's weights. Raises InvalidCard likewise."""
    return Card(**_common(_load(_DetectorSchema(), document), document))


def classifier_folders(models_dir: Path) -> list[Path]:
    """The folders in `models_dir` that hold classifiers, by name."""
    return [
        folder for folder in list_folders(models_dir) if kind_of(read_kind(folder)) == CLASSIFIER
    ]


def kind_of(kind: object) -> str:
    """The kind of a model whose card has `kind`. Unknown values count as a classifier, so that a
    model with a broken card is listed too."""
    return kind if kind in (DETECTOR, SINGLE_SHOT) else CLASSIFIER


def _load(schema: Schema, document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise InvalidCard("a card must be a JSON object")
    try:
        return dict(schema.load(document))
    except ValidationError as error:
        raise InvalidCard(f"the card is not valid: {_shortened(error.messages)}") from error


def _shortened(messages: object) -> str:
    """The errors of a schema, cut to a length that fits into a response and a log line."""
    text = json.dumps(messages)
    return text if len(text) <= MAX_PROBLEM else f"{text[: MAX_PROBLEM - 1]}…"


def _common(data: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    sizes = data["input"].get("sizes") or [data["input"]["size"]]
    return {
        "name": data["name"],
        "version": data["version"],
        "input_sizes": tuple(sorted(set(sizes))),
        "weights_file": data["weights"]["file"],
        "sha256": data["weights"]["sha256"],
        "document": document,
    }


def read_card(folder: Path) -> ClassifierCard:
    """The card of a classifier's folder. Raises InvalidCard, also when the folder has another
    name."""
    return _of_folder(folder, parse_card(read_document(folder)))


def read_single_shot_card(folder: Path) -> SingleShotCard:
    """The card of a folder with a network that finds and names. Raises InvalidCard likewise."""
    return _of_folder(folder, parse_single_shot_card(read_document(folder)))


def read_detector_card(folder: Path) -> Card:
    """The card of a folder with a detector's weights. Raises InvalidCard likewise."""
    return _of_folder(folder, parse_detector_card(read_document(folder)))


def detector_folder(models_dir: Path, name: str, advice: str) -> Path:
    """The folder with the weights of a detector. Raises ModelUnavailable where there is none,
    saying what the operator does then."""
    folder = models_dir / name
    if not (folder / CARD_FILE).exists():
        raise ModelUnavailable(f"the detector {name!r} has no weights here: the operator {advice}")
    return folder


def _of_folder(folder: Path, card: AnyCard) -> AnyCard:
    if card.name != folder.name:
        raise InvalidCard(f"the folder {printable(folder.name)!r} holds the card of {card.name!r}")
    return card


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
