import json

import pytest

from app.errors import InvalidCard
from app.vision.card import read_weights
from app.vision.classifier import ClassifierCard
from tests.conftest import card_document, write_model


def test_a_card_says_what_serving_needs():
    card = ClassifierCard.parse(card_document("net", ("calm", "joy")))
    assert (card.name, card.labels, card.input_size) == ("net", ("calm", "joy"), 48)
    assert card.ref.version == "0.1"


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("name",), "../etc", "name"),
        (("labels",), ["joy"], "labels"),
        (("labels",), ["joy", "joy"], "labels"),
        (("labels",), ["Joy", "calm"], "labels"),
        (("labels",), ["bbox", "calm"], "labels"),
        (("labels",), ["face_id", "calm"], "labels"),
        (("labels",), ["j" * 65, "calm"], "labels"),
        (("input", "size"), 4, "size"),
        (("input", "size"), "48", "size"),
        (("crop_scale",), 0, "crop_scale"),
        (("temperature",), -1, "temperature"),
        (("temperature",), float("nan"), "temperature"),
        (("weights", "file"), "../model.onnx", "file"),
        (("weights", "file"), "/etc/passwd", "file"),
        (("weights", "sha256"), "123", "sha256"),
        (("licence",), "", "licence"),
    ],
)
def test_a_wrong_field_is_named(path, value, complaint):
    document = card_document("net")
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InvalidCard, match=complaint):
        ClassifierCard.parse(document)


@pytest.mark.parametrize("field", sorted(card_document("net")))
def test_every_field_is_needed(field):
    document = card_document("net")
    del document[field]
    with pytest.raises(InvalidCard, match=field):
        ClassifierCard.parse(document)


@pytest.mark.parametrize("document", [[], "card", None])
def test_a_card_is_an_object(document):
    with pytest.raises(InvalidCard, match="object"):
        ClassifierCard.parse(document)


def test_a_card_may_say_more():
    assert ClassifierCard.parse(card_document("net") | {"poem": "…"}).document["poem"] == "…"


def test_the_folder_and_its_card_agree(tmp_path):
    write_model(tmp_path, "net").rename(tmp_path / "other")
    with pytest.raises(InvalidCard, match="'other' holds the card of 'net'"):
        ClassifierCard.read(tmp_path / "other")


@pytest.mark.parametrize("text", ["", "{", "\xff"])
def test_a_card_that_is_no_json_is_refused(tmp_path, text):
    (write_model(tmp_path, "net") / "card.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidCard, match=r"no readable card\.json"):
        ClassifierCard.read(tmp_path / "net")


def test_weights_must_be_those_of_the_card(tmp_path):
    folder = write_model(tmp_path, "net")
    card = ClassifierCard.read(folder)
    assert read_weights(folder, card) == b"stub"
    (folder / "model.onnx").write_bytes(b"others")
    with pytest.raises(InvalidCard, match="checksum"):
        read_weights(folder, card)
    (folder / "model.onnx").unlink()
    with pytest.raises(InvalidCard, match="not installed"):
        read_weights(folder, card)


def test_errors_do_not_show_paths(tmp_path):
    folder = write_model(tmp_path, "net")
    (folder / "card.json").write_text(json.dumps(card_document("net") | {"labels": []}))
    with pytest.raises(InvalidCard) as caught:
        ClassifierCard.read(folder)
    assert str(tmp_path) not in str(caught.value)
