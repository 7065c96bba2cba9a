"""Kept pictures: no row without its file, no file without its row, nothing left by an erasure."""

import errno
import os
import time
from base64 import b64encode
from pathlib import Path

import pytest

from app import create_app
from app.errors import NotFound, StoreUnavailable
from app.settings import SettingError, Settings
from app.store import pictures as module
from app.store import queries
from app.store.cipher import Cipher
from app.store.migrate import upgrade
from app.store.pictures import PictureFolder
from app.store.records import Filters
from app.store.retries import AlreadyKept, Retry
from tests.store.test_queries import ANGRY, HAPPY, analysis

KEY, OTHER_KEY = (b64encode(bytes([n]) * 32).decode() for n in (1, 2))
PICTURE = b"\xff\xd8\xff" + bytes(range(256)) * 50


def cipher(key):
    return Cipher(key) if key else None


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture(params=["", KEY], ids=["plain", "encrypted"])
def kept(request, empty_database_app, tmp_path):
    """(folder, application) on each database, which keeps pictures of each kind."""
    upgrade()
    folder = tmp_path / "pictures"
    empty_database_app.extensions["pictures"] = PictureFolder(
        folder, keeps=True, cipher=cipher(request.param)
    )
    return folder, empty_database_app


def test_a_picture_comes_back_as_it_was(kept):
    folder, _ = kept
    saved = queries.save(analysis(HAPPY), picture=PICTURE)
    assert queries.picture(saved.id) == PICTURE
    (file,) = files(folder)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_without_a_key_it_is_a_plain_file_and_with_one_it_is_not(tmp_path):
    for key in ("", KEY):
        folder = PictureFolder(tmp_path / (key[:3] or "plain"), keeps=True, cipher=cipher(key))
        name = folder.keep(PICTURE)
        (file,) = files(tmp_path / (key[:3] or "plain"))
        assert (PICTURE[100:130] in file.read_bytes()) is (key == "")
        assert folder.read(name) == PICTURE


def test_plain_files_can_be_read_after_a_key_was_set(tmp_path):
    name = PictureFolder(tmp_path, keeps=True).keep(PICTURE)
    assert PictureFolder(tmp_path, keeps=True, cipher=Cipher(KEY)).read(name) == PICTURE


@pytest.mark.parametrize("key", ["", OTHER_KEY])
def test_without_its_key_it_is_not_opened(tmp_path, key):
    name = PictureFolder(tmp_path, keeps=True, cipher=Cipher(KEY)).keep(PICTURE)
    with pytest.raises(StoreUnavailable, match="key"):
        PictureFolder(tmp_path, keeps=True, cipher=cipher(key)).read(name)


@pytest.mark.parametrize("length", [8, 15, 500])
def test_a_file_that_was_cut_is_not_opened(tmp_path, length):
    folder = PictureFolder(tmp_path, keeps=True, cipher=Cipher(KEY))
    name = folder.keep(PICTURE)
    (file,) = files(tmp_path)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(StoreUnavailable):
        folder.read(name)


def test_one_picture_cannot_be_put_in_anothers_place(tmp_path):
    folder = PictureFolder(tmp_path, keeps=True, cipher=Cipher(KEY))
    names = [folder.keep(PICTURE), folder.keep(PICTURE[:-1])]
    first, second = (tmp_path / name[:2] / name for name in names)
    first.write_bytes(second.read_bytes())
    with pytest.raises(StoreUnavailable):
        folder.read(names[0])


@pytest.mark.parametrize("key", ["secret!", "c2hvcnQ=", KEY[:-4]])
def test_a_key_that_is_none_stops_the_start_and_is_not_shown(key):
    with pytest.raises(SettingError, match=r"EMOTION_PICTURES_KEY: .*base64") as refused:
        create_app(Settings(pictures_key=key))
    assert key not in str(refused.value)


def test_erasing_an_image_erases_its_picture_and_no_other(kept, caplog):
    folder, _ = kept
    first, second = (queries.save(analysis(HAPPY), picture=PICTURE) for _ in range(2))
    with caplog.at_level("INFO"):
        queries.erase(first.id)
    assert f"images {first.id} are erased" in caplog.messages
    assert len(files(folder)) == 1
    assert queries.picture(second.id) == PICTURE
    with pytest.raises(NotFound):
        queries.picture(first.id)


def test_erasing_many_erases_their_pictures_and_says_their_ids(kept, caplog):
    folder, _ = kept
    for face in (HAPPY, HAPPY, ANGRY, HAPPY):
        queries.save(analysis(face), picture=PICTURE)
    with caplog.at_level("INFO"):
        assert queries.erase_matching(Filters(emotion="happiness")) == 3
    assert "images 1–2, 4 are erased" in caplog.messages
    assert len(files(folder)) == 1
    assert queries.picture(3) == PICTURE


def test_where_pictures_are_no_longer_kept_older_ones_can_be_seen_and_erased(kept):
    folder, app = kept
    old = queries.save(analysis(HAPPY), picture=PICTURE)
    app.extensions["pictures"].keeps = False
    new = queries.save(analysis(HAPPY), picture=PICTURE)
    with pytest.raises(NotFound, match="not kept"):
        queries.picture(new.id)
    assert queries.picture(old.id) == PICTURE
    queries.erase(old.id)
    assert files(folder) == []


def test_a_request_that_came_before_leaves_no_second_picture(kept):
    folder, _ = kept
    retry = Retry("", "key", 0, "f" * 64)
    queries.save(analysis(HAPPY), retry, PICTURE)
    with pytest.raises(AlreadyKept):
        queries.save(analysis(HAPPY), retry, PICTURE)
    assert len(files(folder)) == 1


def test_a_full_folder_keeps_nothing_at_all(kept, monkeypatch):
    folder, _ = kept

    def full(_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(StoreUnavailable):
        queries.save(analysis(HAPPY), picture=PICTURE)
    assert files(folder) == []
    assert queries.page_of_images(Filters(), size=1, cursor=None).items == []


def test_what_cannot_be_erased_stays_whole(kept, monkeypatch):
    saved = queries.save(analysis(HAPPY), picture=PICTURE)

    def refuse(*_, **__):
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", refuse)
    for erase in (
        lambda: queries.erase(saved.id),
        lambda: queries.erase_matching(Filters(model=saved.model.name)),
    ):
        with pytest.raises(StoreUnavailable):
            erase()
    assert queries.get(saved.id) == saved
    assert queries.picture(saved.id) == PICTURE


def test_an_erasure_that_was_interrupted_can_be_repeated(kept):
    folder, _ = kept
    saved = queries.save(analysis(HAPPY), picture=PICTURE)
    files(folder)[0].unlink()
    with pytest.raises(NotFound, match="not there"):
        queries.picture(saved.id)
    queries.erase(saved.id)
    with pytest.raises(NotFound):
        queries.get(saved.id)


def test_files_of_no_image_are_swept_once_no_request_can_want_them(kept):
    folder, app = kept
    saved = queries.save(analysis(HAPPY), picture=PICTURE)
    lost, young = (app.extensions["pictures"].keep(PICTURE) for _ in range(2))
    long_ago = time.time() - 2 * module.SETTLED_SECONDS
    for file in files(folder):
        if file.name != young:
            os.utime(file, (long_ago, long_ago))
    assert queries.sweep_pictures() == 1
    assert {file.name for file in files(folder)} >= {young}
    assert lost not in {file.name for file in files(folder)}
    assert queries.picture(saved.id) == PICTURE
    assert queries.sweep_pictures() == 0
