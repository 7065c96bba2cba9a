"""Model folders with any content: a fault disables only the model in the folder."""

import json
import os

import pytest

from app.errors import InvalidCard, ModelUnavailable
from app.settings import ROOT
from app.vision import folders
from app.vision.card import read_weights
from app.vision.classifier import ClassifierCard
from app.vision.folders import ModelFolders, list_folders, parse_document, read_document
from app.vision.registry import LoadOnce
from tests.conftest import card_document, write_model


def replace(path, make):
    path.unlink()
    make(path)


def sparse(path):
    with path.open("wb") as file:
        file.truncate(10**12)


NOT_FILES = {
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to endless zeros": lambda path: path.symlink_to("/dev/zero"),
    "a terabyte": sparse,
}

NOT_CARDS = {
    "nothing": b"",
    "UTF-16": json.dumps(card_document("odd")).encode("utf-16"),
    "broken UTF-8": b'{"name": "\xff"}',
    "half a character": b'{"name": "\\ud800"}',
    "half a character as a key": b'{"a": [{"\\ud800": 1}]}',
    "deep arrays": b"[" * 90_000 + b"]" * 90_000,
    "deep objects": b'{"a":' * 30_000 + b"1" + b"}" * 30_000,
    "21 arrays": b"[" * 22 + b"]" * 22,
    "more bytes than are allowed": b'{"a": "%s"}' % (b"x" * 200_000),
    "an infinite number": b'{"a": 1e999}',
    "minus infinity": b'{"a": -Infinity}',
    "NaN": b'{"a": NaN}',
    "a number of 10,000 digits": b'{"a": %s}' % (b"9" * 10_000),
    "a key twice": b'{"name": "a", "name": "b"}',
}


@pytest.mark.parametrize("case", NOT_FILES)
def test_card_that_is_not_a_regular_file_is_rejected(tmp_path, case):
    folder = write_model(tmp_path, "odd")
    replace(folder / "card.json", NOT_FILES[case])
    with pytest.raises(InvalidCard, match=r"'odd' has no readable card\.json: \w+") as caught:
        ClassifierCard.read(folder)
    assert str(tmp_path) not in str(caught.value)
    assert folder in list_folders(tmp_path)


@pytest.mark.parametrize("case", NOT_FILES)
def test_weights_that_are_not_a_regular_file_are_rejected(tmp_path, case):
    folder = write_model(tmp_path, "odd")
    replace(folder / "model.onnx", NOT_FILES[case])
    with pytest.raises(InvalidCard, match=r"weights (cannot be read|are not installed)") as caught:
        read_weights(folder, ClassifierCard.read(folder))
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("case", NOT_CARDS)
def test_card_with_invalid_json_is_rejected(tmp_path, case):
    folder = write_model(tmp_path, "odd")
    (folder / "card.json").write_bytes(NOT_CARDS[case])
    with pytest.raises(InvalidCard, match=r"no readable card\.json: "):
        read_document(folder)


def test_card_with_twenty_levels_is_accepted():
    assert parse_document(b"[" * 21 + b"]" * 21)
    for card in (ROOT / "models").glob("*/card.json"):
        assert parse_document(card.read_bytes()) == json.loads(card.read_text())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 1e-300),
        ("temperature", 10**400),
        ("crop_scale", 10**400),
        ("input", {"size": 10**400}),
        ("version", "1\x00"),
        ("version", "1\n2"),
        ("kind", ["classifier"]),
        ("labels", [{"a": 1}] * 5000),
    ],
)
def test_card_with_an_unusable_value_is_rejected_with_a_short_message(tmp_path, field, value):
    folder = write_model(tmp_path, "odd")
    (folder / "card.json").write_text(json.dumps(card_document("odd") | {field: value}))
    with pytest.raises(InvalidCard) as caught:
        ClassifierCard.read(folder)
    assert len(str(caught.value)) < 700


def test_folder_without_read_permission_is_listed(tmp_path, monkeypatch):
    """Root may read everything, so the missing permission is simulated."""
    folder = write_model(tmp_path, "closed")
    real = os.lstat

    def lstat(path, **named):
        if os.fspath(path).startswith(os.fspath(folder)):
            raise PermissionError(13, "Permission denied")
        return real(path, **named)

    monkeypatch.setattr(os, "lstat", lstat)
    assert list_folders(tmp_path) == [folder]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folder_without_permissions_is_listed_and_rejected(tmp_path):
    folder = write_model(tmp_path, "closed")
    folder.chmod(0)
    try:
        (found,) = ModelFolders(tmp_path).all()
        assert found.name == "closed"
        with pytest.raises(InvalidCard, match="Permission"):
            ClassifierCard.read(folder)
    finally:
        folder.chmod(0o700)


def test_folder_names_are_made_printable(tmp_path):
    write_model(tmp_path, "good")
    for name in (b"line\nbreak", b"\xff\xfe", b"space and \xc3\xa9"):
        (tmp_path / os.fsdecode(name)).mkdir()
        (tmp_path / os.fsdecode(name) / "card.json").write_text("{}")
    names = [folder.name for folder in ModelFolders(tmp_path).all()]
    assert sorted(names) == ["good", "line\ufffdbreak", "space and \u00e9", "\ufffd\ufffd"]


def test_folders_without_a_card_are_not_listed(tmp_path):
    write_model(tmp_path, ".installing-x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "README").write_text("models")
    assert ModelFolders(tmp_path).all() == []
    assert ModelFolders(tmp_path / "gone").all() == []


def test_folders_are_scanned_at_most_once_per_second(tmp_path, monkeypatch):
    write_model(tmp_path, "net")
    scans = []
    real = folders.list_folders
    monkeypatch.setattr(folders, "list_folders", lambda path: scans.append(path) or real(path))
    model_folders = ModelFolders(tmp_path)
    for _ in range(100):
        model_folders.all()
    assert len(scans) == 1
    monkeypatch.setattr(folders, "SCAN_SECONDS", 0)
    model_folders.all()
    assert len(scans) == 2


def same_size_and_time(path):
    """Replace the file by another file with the same size and modification time."""
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(bytes(before.st_size))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)


def written_in_place(path):
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        same_size_and_time,
        written_in_place,
        lambda path: path.unlink(),
        lambda path: replace(path, lambda path: path.symlink_to("card.json")),
    ],
)
def test_state_changes_when_a_file_changes(tmp_path, change):
    folder = write_model(tmp_path, "net")
    before = folders.folder_state(folder)
    assert folders.folder_state(folder) == before
    change(folder / "model.onnx")
    assert folders.folder_state(folder) != before


def test_state_changes_when_the_target_of_a_link_changes(tmp_path):
    folder = write_model(tmp_path / "models", "net")
    (folder / "model.onnx").rename(tmp_path / "weights")
    (folder / "model.onnx").symlink_to(tmp_path / "weights")
    before = folders.folder_state(folder)
    (tmp_path / "weights").write_bytes(b"other weights")
    assert folders.folder_state(folder) != before


def test_unexpected_error_of_a_load_is_remembered_until_the_files_change():
    models: LoadOnce[int] = LoadOnce()
    loads = []

    def load():
        loads.append(1)
        raise ZeroDivisionError

    for state in ("a", "a", "b"):
        with pytest.raises(ModelUnavailable, match="see the log"):
            models.load("odd", state, load)
    assert len(loads) == 2
