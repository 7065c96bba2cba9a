"""Files in the folder of kept images."""

import errno
import os
import time
from base64 import b64encode

import pytest

from app import create_app
from app.errors import NotFound, StoreUnavailable
from app.settings import SettingError, Settings
from app.store import image_folder as module
from app.store.cipher import Cipher
from app.store.image_folder import ImageFolder
from app.store.image_store import random_digits

KEY, OTHER_KEY = (b64encode(bytes([n]) * 32).decode() for n in (1, 2))
IMAGE = b"\xff\xd8\xff" + bytes(range(256)) * 50
DATABASE_ID, OTHER_DATABASE_ID = "0123456789ab", "ba9876543210"


def folder_with(path, key=""):
    return ImageFolder(path, keeps=True, cipher=Cipher(key) if key else None)


def new_name(database_id):
    return random_digits() + database_id


def write(folder, data=IMAGE, database_id=DATABASE_ID):
    """Write a new file and return its name and digest."""
    name = new_name(database_id)
    return name, folder.write(name, data)


def path_of(path, name):
    return path / name[:2] / name


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("key", ["", KEY], ids=["plain", "encrypted"])
def test_written_image_is_read_unchanged_from_a_private_file(tmp_path, key):
    folder = folder_with(tmp_path / "new", key)
    name, digest = write(folder)
    assert folder.read(name, digest) == IMAGE
    (file,) = files(tmp_path)
    assert file == path_of(tmp_path / "new", name)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert (IMAGE[100:130] in file.read_bytes()) is (key == "")


def test_plain_file_can_be_read_after_a_key_was_set(tmp_path):
    name, digest = write(folder_with(tmp_path))
    assert folder_with(tmp_path, KEY).read(name, digest) == IMAGE


@pytest.mark.parametrize("key", ["", OTHER_KEY])
def test_read_rejects_an_encrypted_file_without_its_key(tmp_path, key):
    name, digest = write(folder_with(tmp_path, KEY))
    with pytest.raises(StoreUnavailable, match=r"key|KEY"):
        folder_with(tmp_path, key).read(name, digest)


OTHER_FILES = {
    "empty": lambda data: b"",
    "truncated in the header": lambda data: data[:5],
    "truncated after the header": lambda data: data[:8],
    "truncated in the nonce": lambda data: data[:15],
    "truncated": lambda data: data[:500],
    "longer": lambda data: data + b"\0",
    "changed": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "plain": lambda data: b"\xff\xd8\xff another image",
    "encrypted with the same key for another name": lambda data: (
        module.ENCRYPTED + Cipher(KEY).seal(IMAGE, "0" * 32)
    ),
}


@pytest.mark.parametrize("other", OTHER_FILES)
@pytest.mark.parametrize("key", ["", KEY], ids=["plain", "encrypted"])
def test_read_rejects_a_changed_file(tmp_path, key, other):
    folder = folder_with(tmp_path, key)
    name, digest = write(folder)
    file = path_of(tmp_path, name)
    file.write_bytes(OTHER_FILES[other](file.read_bytes()))
    for reader in (folder, folder_with(tmp_path, KEY)):
        with pytest.raises(StoreUnavailable):
            reader.read(name, digest)


@pytest.mark.parametrize("with_key", [True, False])
def test_read_rejects_a_plain_file_in_place_of_an_encrypted_one(tmp_path, with_key):
    name, digest = write(folder_with(tmp_path, KEY))
    path_of(tmp_path, name).write_bytes(IMAGE)
    with pytest.raises(StoreUnavailable, match="is not encrypted"):
        folder_with(tmp_path, KEY if with_key else "").read(name, digest)


def test_read_rejects_the_encrypted_file_of_another_image(tmp_path):
    folder = folder_with(tmp_path, KEY)
    (first, digest), (second, _) = write(folder), write(folder)
    path_of(tmp_path, second).replace(path_of(tmp_path, first))
    with pytest.raises(StoreUnavailable):
        folder.read(first, digest)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_read_rejects_other_kinds_of_files(tmp_path, kind):
    folder = folder_with(tmp_path / "images")
    name, digest = write(folder)
    file = path_of(tmp_path / "images", name)
    (tmp_path / "same").write_bytes(file.read_bytes())
    file.unlink()
    {"link": lambda: file.symlink_to(tmp_path / "same"), "pipe": lambda: os.mkfifo(file)}.get(
        kind, file.mkdir
    )()
    with pytest.raises(StoreUnavailable):
        folder.read(name, digest)


def test_read_of_a_missing_file_raises_not_found(tmp_path):
    name, digest = write(folder_with(tmp_path))
    path_of(tmp_path, name).unlink()
    with pytest.raises(NotFound, match="missing"):
        folder_with(tmp_path).read(name, digest)


@pytest.mark.parametrize("key", ["secret!", "c2hvcnQ=", KEY[:-4]])
def test_invalid_key_is_a_setting_error_that_does_not_contain_the_key(key):
    with pytest.raises(SettingError, match=r"EMOTION_PICTURES_KEY: .*base64") as raised:
        create_app(Settings(pictures_key=key))
    assert key not in str(raised.value)


def test_write_on_a_full_disk_leaves_no_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(StoreUnavailable):
        write(folder_with(tmp_path))
    assert files(tmp_path) == []


def test_write_keeps_a_file_that_has_the_name_of_a_folder(tmp_path):
    name = new_name(DATABASE_ID)
    (tmp_path / name[:2]).write_text("the operator's")
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        folder_with(tmp_path).write(name, IMAGE)
    assert (tmp_path / name[:2]).read_text() == "the operator's"


def test_remove_continues_after_a_failure_and_returns_the_removed_names(tmp_path, caplog):
    folder = folder_with(tmp_path)
    names = [write(folder)[0] for _ in range(3)]
    path_of(tmp_path, names[0]).unlink()
    path_of(tmp_path, names[1]).unlink()
    path_of(tmp_path, names[1]).mkdir()
    assert folder.remove(names) == {names[0], names[2]}
    assert files(tmp_path) == []
    assert "cannot be removed" in caplog.text
    assert str(tmp_path) not in caplog.text


def test_files_of_database_yields_only_old_files(tmp_path):
    """Other old files in the folder may belong to the operator."""
    folder, outside = folder_with(tmp_path / "images"), tmp_path / "outside"
    expected, _ = write(folder)
    other, _ = write(folder, database_id=OTHER_DATABASE_ID)
    write(folder, database_id="f" * 12)
    written = "ab" + "0" * 18 + DATABASE_ID
    linked_folder, linked_file = "cd" + "1" * 18 + DATABASE_ID, "ef" + "2" * 18 + DATABASE_ID
    images = tmp_path / "images"
    for place in (
        "IM/IMG_0001.jpg",
        "im/IMG_0001.jpg",
        "ab/notes.txt",
        f"ab/{written.upper()}",
        f"ab/{written}.jpg",
        f"ab/x{written}",
        f"ab/{written[1:]}",
        f"ac/{written}",
        f"abc/{written}",
        f"AB/{written}",
        written,
        f"ab/ab/{written}",
        f"ab/{'ab' * 16}",
    ):
        (images / place).parent.mkdir(parents=True, exist_ok=True)
        (images / place).write_text("the operator's")
    (outside / "cd").mkdir(parents=True)
    (outside / "cd" / linked_folder).write_text("the operator's")
    (images / "cd").symlink_to(outside / "cd")
    (outside / "file").write_text("the operator's")
    (images / "ef").mkdir(exist_ok=True)
    (images / "ef" / linked_file).symlink_to(outside / "file")
    (images / "ab" / ("ab" + "3" * 18 + DATABASE_ID)).mkdir()
    recent, _ = write(folder)
    long_ago = time.time() - 2 * module.MIN_ORPHAN_SECONDS
    for file in files(tmp_path):
        if file.name != recent:
            os.utime(file, (long_ago, long_ago), follow_symlinks=False)
    assert list(folder.files_of_database(DATABASE_ID)) == [expected]
    assert list(folder.files_of_database(OTHER_DATABASE_ID)) == [other]


def test_files_of_database_skips_files_of_another_owner(tmp_path, monkeypatch):
    folder = folder_with(tmp_path)
    name, _ = write(folder)
    os.utime(path_of(tmp_path, name), (0, 0))
    assert list(folder.files_of_database(DATABASE_ID)) == [name]
    owner = os.geteuid()
    monkeypatch.setattr(module.os, "geteuid", lambda: owner + 1)
    assert list(folder.files_of_database(DATABASE_ID)) == []


def test_files_of_database_yields_nothing_for_a_missing_folder(tmp_path):
    assert list(folder_with(tmp_path / "none").files_of_database(DATABASE_ID)) == []
    assert not (tmp_path / "none").exists()
