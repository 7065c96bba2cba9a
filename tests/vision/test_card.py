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


def long_form(**changes):
    """A card that names its tensors instead of giving the size of its input only."""
    document = card_document("net")
    del document["input"]
    return document | {
        "inputs": [{"name": "crops", "dtype": "uint8", "shape": ["n", 1, 48, 48]}],
        "outputs": [{"name": "logits", "dtype": "float32", "shape": ["n", 8], "what": "logits"}],
    } | changes  # fmt: skip


def test_the_short_form_means_one_input_and_one_output_of_any_name():
    short = ClassifierCard.parse(card_document("net")).signature
    long = ClassifierCard.parse(long_form())
    assert (short.named, long.signature.named) == (False, True)
    assert long.input_size == 48
    for ours, theirs in zip(
        (*short.inputs, *short.outputs), (*long.signature.inputs, *long.signature.outputs),
        strict=True,
    ):  # fmt: skip
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    assert [each.name for each in long.signature.inputs] == ["crops"]


CROPS, LOGITS = long_form()["inputs"][0], long_form()["outputs"][0]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"input": {"size": 48}}, "together with inputs and outputs"),
        ({"inputs": [CROPS, CROPS | {"name": "more"}]}, "must each be one tensor"),
        ({"outputs": [LOGITS, LOGITS | {"name": "more"}]}, "must each be one tensor"),
        ({"inputs": [CROPS | {"shape": ["n", 3, 48, 48]}]}, r"uint8 of shape .*1, 48, 48"),
        ({"inputs": [CROPS | {"shape": ["n", 1, 64, 48]}]}, r"uint8 of shape .*1, 48, 48"),
        ({"inputs": [CROPS | {"shape": ["n"]}]}, "uint8 of shape"),
        ({"inputs": [CROPS | {"dtype": "float32"}]}, "uint8 of shape"),
        ({"outputs": [LOGITS | {"shape": ["n", 7]}]}, r"float32 of shape .*8\]"),
        ({"exclusive": "sometimes"}, "exclusive"),
        ({"thresholds": [0.5] * 7}, "one number for each label"),
        ({"thresholds": [-0.5] * 8}, "thresholds"),
    ],
)
def test_what_a_long_card_says_must_fit_together(changes, complaint):
    with pytest.raises(InvalidCard, match=complaint):
        ClassifierCard.parse(long_form(**changes))


def test_labels_are_exclusive_unless_the_card_says_otherwise():
    assert ClassifierCard.parse(card_document("net")).exclusive
    assert ClassifierCard.parse(card_document("net")).thresholds is None
    said = {"exclusive": False, "thresholds": [0.5] * 8}
    card = ClassifierCard.parse(card_document("net") | said)
    assert (card.exclusive, card.thresholds) == (False, (0.5,) * 8)


def test_a_card_may_say_more():
    assert ClassifierCard.parse(card_document("net") | {"poem": "…"}).document["poem"] == "…"


def test_the_folder_and_its_card_agree(tmp_path):
    write_model(tmp_path, "net").rename(tmp_path / "other")
    with pytest.raises(InvalidCard, match="'other' contains the card of 'net'"):
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
