import json

import pytest

from app.errors import InvalidCard
from app.vision.card import read_weights
from app.vision.classifier import ClassifierCard
from tests.conftest import card_document, write_model


def test_card_has_the_fields_for_serving():
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
def test_invalid_field_is_named_in_the_error(path, value, complaint):
    document = card_document("net")
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InvalidCard, match=complaint):
        ClassifierCard.parse(document)


@pytest.mark.parametrize("field", sorted(card_document("net")))
def test_missing_field_is_named_in_the_error(field):
    document = card_document("net")
    del document[field]
    with pytest.raises(InvalidCard, match=field):
        ClassifierCard.parse(document)


@pytest.mark.parametrize("document", [[], "card", None])
def test_card_that_is_not_an_object_is_rejected(document):
    with pytest.raises(InvalidCard, match="object"):
        ClassifierCard.parse(document)


def long_form(**changes):
    """A card that names the tensors instead of giving only the size of the input."""
    document = card_document("net")
    del document["input"]
    return document | {
        "inputs": [{"name": "crops", "dtype": "uint8", "shape": ["n", 1, 48, 48]}],
        "outputs": [{"name": "logits", "dtype": "float32", "shape": ["n", 8], "what": "logits"}],
    } | changes  # fmt: skip


def test_short_form_means_one_input_and_one_output_of_any_name():
    short = ClassifierCard.parse(card_document("net")).signature
    long = ClassifierCard.parse(long_form())
    assert (short.named, long.signature.named) == (False, True)
    assert long.input_size == 48
    for short_tensor, long_tensor in zip(
        (*short.inputs, *short.outputs), (*long.signature.inputs, *long.signature.outputs),
        strict=True,
    ):  # fmt: skip
        assert (short_tensor.dtype, short_tensor.shape) == (long_tensor.dtype, long_tensor.shape)
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
def test_card_with_inconsistent_tensors_is_rejected(changes, complaint):
    with pytest.raises(InvalidCard, match=complaint):
        ClassifierCard.parse(long_form(**changes))


def test_labels_are_exclusive_by_default():
    assert ClassifierCard.parse(card_document("net")).exclusive
    assert ClassifierCard.parse(card_document("net")).thresholds is None
    changes = {"exclusive": False, "thresholds": [0.5] * 8}
    card = ClassifierCard.parse(card_document("net") | changes)
    assert (card.exclusive, card.thresholds) == (False, (0.5,) * 8)


def test_card_may_contain_unknown_fields():
    assert ClassifierCard.parse(card_document("net") | {"poem": "…"}).document["poem"] == "…"


def test_card_in_a_folder_with_another_name_is_rejected(tmp_path):
    write_model(tmp_path, "net").rename(tmp_path / "other")
    with pytest.raises(InvalidCard, match="'other' contains the card of 'net'"):
        ClassifierCard.read(tmp_path / "other")


@pytest.mark.parametrize("text", ["", "{", "\xff"])
def test_card_that_is_not_json_is_rejected(tmp_path, text):
    (write_model(tmp_path, "net") / "card.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidCard, match=r"no readable card\.json"):
        ClassifierCard.read(tmp_path / "net")


def test_weights_with_another_checksum_are_rejected(tmp_path):
    folder = write_model(tmp_path, "net")
    card = ClassifierCard.read(folder)
    assert read_weights(folder, card) == b"stub"
    (folder / "model.onnx").write_bytes(b"others")
    with pytest.raises(InvalidCard, match="checksum"):
        read_weights(folder, card)
    (folder / "model.onnx").unlink()
    with pytest.raises(InvalidCard, match="not installed"):
        read_weights(folder, card)


def test_errors_do_not_contain_paths(tmp_path):
    folder = write_model(tmp_path, "net")
    (folder / "card.json").write_text(json.dumps(card_document("net") | {"labels": []}))
    with pytest.raises(InvalidCard) as caught:
        ClassifierCard.read(folder)
    assert str(tmp_path) not in str(caught.value)
