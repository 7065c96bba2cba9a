"""Rows and files of kept images: consistent after every failure between them."""

import hashlib
import os
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, text, update

from app.errors import NotFound, StoreUnavailable
from app.store import image_folder as folder_module
from app.store import insertion, kept_images, queries
from app.store.cipher import Cipher
from app.store.idempotency import AlreadyStored, IdempotentRequest
from app.store.image_folder import ENCRYPTED, ImageFolder
from app.store.migrate import downgrade, upgrade
from app.store.records import Filters
from app.store.tables import FileRemovalRow, ImageRow, StoreRow, db
from tests.store.test_image_folder import IMAGE, KEY, files, new_name
from tests.store.test_queries import ANGRY, HAPPY, analysis


@pytest.fixture
def folder(database_app, tmp_path):
    """The folder of an application that keeps images, encrypted, on each database."""
    kept = ImageFolder(tmp_path / "pictures", keeps=True, cipher=Cipher(KEY))
    database_app.extensions["pictures"] = kept
    return tmp_path / "pictures"


@pytest.fixture
def app(folder, database_app):
    return database_app


def save(*faces, **options):
    return queries.save(analysis(*(faces or (HAPPY,))), picture=IMAGE, **options)


def scheduled():
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(FileRemovalRow))


def rows():
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(ImageRow))


def make_due():
    db.session.execute(update(FileRemovalRow).values(due_at=datetime.now(UTC)))
    db.session.commit()


def fail_at(monkeypatch, owner, name, *, after=False, error=StoreUnavailable, only=None):
    """Let a function fail before or after it works; `only`: at that call, counted from 1."""
    real, calls = getattr(owner, name), []

    def failing(*arguments, **named):
        calls.append(arguments)
        if only not in (None, len(calls)):
            return real(*arguments, **named)
        if after:
            real(*arguments, **named)
        raise error("on purpose")

    monkeypatch.setattr(owner, name, failing)


# ---------------------------------------------------------------- saving


@pytest.mark.parametrize("key", ["", KEY], ids=["plain", "encrypted"])
def test_saving_keeps_the_file_and_schedules_nothing(folder, app, key):
    if not key:
        app.extensions["pictures"] = ImageFolder(folder, keeps=True)
    saved = save()
    assert queries.picture(saved.id) == IMAGE
    assert (len(files(folder)), scheduled()) == (1, 0)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("owner", "name"), [(queries, "insert_analysis"), (insertion, "withdraw_removal")]
)
def test_a_failure_before_the_commit_leaves_neither_row_nor_file(
    folder, monkeypatch, owner, name, after
):
    fail_at(monkeypatch, owner, name, after=after)
    with pytest.raises(StoreUnavailable):
        save()
    assert (rows(), files(folder), scheduled()) == (0, [], 0)


def test_a_failure_while_the_file_is_written_leaves_nothing(folder, monkeypatch):
    fail_at(monkeypatch, folder_module.os, "fsync", error=OSError, only=1)
    with pytest.raises(StoreUnavailable):
        save()
    assert (rows(), files(folder), scheduled()) == (0, [], 0)


def test_a_commit_that_fails_leaves_nothing(folder, monkeypatch):
    fail_at(monkeypatch, db.session, "commit", only=2)
    with pytest.raises(StoreUnavailable):
        save()
    assert (rows(), files(folder), scheduled()) == (0, [], 0)


def test_a_commit_whose_answer_is_lost_keeps_row_and_file(folder, monkeypatch):
    fail_at(monkeypatch, db.session, "commit", only=2, after=True)
    with pytest.raises(StoreUnavailable):
        save()
    assert (rows(), len(files(folder)), scheduled()) == (1, 1, 0)
    assert queries.picture(1) == IMAGE


def test_where_nothing_can_be_scheduled_no_file_is_written(folder, monkeypatch):
    fail_at(monkeypatch, db.session, "commit")
    with pytest.raises(StoreUnavailable):
        save()
    assert (rows(), files(folder)) == (0, [])


def test_a_full_database_leaves_no_file(folder):
    if db.engine.dialect.name != "sqlite":
        pytest.skip("SQLite alone can be told how large it may grow")
    pages = db.session.scalar(text("PRAGMA page_count"))
    db.session.execute(text(f"PRAGMA max_page_count = {pages + 2}"))
    outcomes = []
    for _ in range(30):
        try:
            save(*[HAPPY] * 8)
            outcomes.append(True)
        except StoreUnavailable:
            outcomes.append(False)
    assert outcomes.count(False) > 20
    assert rows() == len(files(folder)) == outcomes.count(True)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_process_that_dies_before_the_commit_leaves_a_file_that_is_removed_soon(
    folder, app, monkeypatch, restarted
):
    saved = save()
    with monkeypatch.context() as patch:
        fail_at(patch, queries, "insert_analysis", error=KeyboardInterrupt)
        patch.setattr(ImageFolder, "remove", lambda *_: set())  # the process is gone
        patch.setattr(kept_images, "_discard", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            save()
    assert (len(files(folder)), scheduled()) == (2, 1)
    assert kept_images.remove_due() == 0  # another process may still be at work
    make_due()
    if restarted:
        queries.clean_up()
        assert (len(files(folder)), scheduled()) == (1, 0)
    else:
        save()
        assert (len(files(folder)), scheduled()) == (2, 0)
    assert queries.picture(saved.id) == IMAGE


@pytest.mark.parametrize("still_removing", [False, True])
def test_a_save_that_is_slower_than_its_lease_fails_whole(folder, monkeypatch, still_removing):
    real = ImageFolder.write

    def slow(*arguments):
        digest = real(*arguments)
        make_due()
        with monkeypatch.context() as patch:
            if still_removing:
                patch.setattr(kept_images, "_forget", lambda _: None)
            assert kept_images.remove_due() == 1
        return digest

    monkeypatch.setattr(ImageFolder, "write", slow)
    with pytest.raises(StoreUnavailable, match="too long"):
        save()
    assert (rows(), files(folder), scheduled()) == (0, [], int(still_removing))


def test_a_repeated_request_leaves_no_second_file(folder):
    idempotent = IdempotentRequest("", "key", 0, "f" * 64)
    save(idempotent=idempotent)
    with pytest.raises(AlreadyStored):
        save(idempotent=idempotent)
    assert (rows(), len(files(folder)), scheduled()) == (1, 1, 0)


def test_where_images_are_no_longer_kept_older_ones_can_be_seen_and_erased(folder, app):
    old = save()
    app.extensions["pictures"].keeps = False
    new = save()
    with pytest.raises(NotFound, match="not kept"):
        queries.picture(new.id)
    assert queries.picture(old.id) == IMAGE
    queries.erase(old.id)
    assert files(folder) == []


# ---------------------------------------------------------------- erasing


def test_erasing_an_image_erases_its_file_and_no_other_and_logs_ids_only(folder, caplog):
    first, second = save(), save()
    name = files(folder)[0].name
    with caplog.at_level("INFO"):
        queries.erase(first.id)
    assert caplog.messages == [f"images {first.id} are erased"]
    assert name not in caplog.text
    assert (len(files(folder)), scheduled()) == (1, 0)
    assert queries.picture(second.id) == IMAGE
    with pytest.raises(NotFound):
        queries.picture(first.id)


def test_erasing_many_erases_their_files_and_logs_their_ids(folder, caplog):
    for face in (HAPPY, HAPPY, ANGRY, HAPPY):
        save(face)
    with caplog.at_level("INFO"):
        assert queries.erase_matching(Filters(emotion="happiness")) == 3
    assert caplog.messages == ["images 1–2, 4 are erased"]
    assert (len(files(folder)), scheduled()) == (1, 0)
    assert queries.picture(3) == IMAGE


def test_many_files_are_removed_in_batches(folder, monkeypatch):
    monkeypatch.setattr(kept_images, "REMOVED_AT_ONCE", 2)
    for _ in range(5):
        save()
    assert queries.erase_matching(Filters(model="net_8")) == 5
    assert (files(folder), scheduled()) == ([], 0)


ERASURES = {
    "one": lambda: queries.erase(1),
    "matching": lambda: queries.erase_matching(Filters(model="net_8")),
}


@pytest.mark.parametrize("way", ERASURES)
def test_an_erasure_that_is_not_committed_removes_no_file(folder, monkeypatch, way):
    saved = save()
    with monkeypatch.context() as patch:
        fail_at(patch, db.session, "commit")
        with pytest.raises(StoreUnavailable):
            ERASURES[way]()
    assert queries.get(saved.id) == saved
    assert queries.picture(saved.id) == IMAGE
    assert scheduled() == 0


@pytest.mark.parametrize("way", ERASURES)
def test_while_a_file_cannot_be_removed_no_erasure_is_confirmed(folder, monkeypatch, way):
    save()
    with monkeypatch.context() as patch:
        fail_at(patch, folder_module.Path, "unlink", error=PermissionError)
        for _ in range(2):  # the same request again
            with pytest.raises(StoreUnavailable, match="again"):
                ERASURES[way]()
            assert (rows(), len(files(folder)), scheduled()) == (0, 1, 1)
        kept_images.remove_due()
        assert scheduled() == 1
    ERASURES[way]()
    assert (files(folder), scheduled()) == ([], 0)
    with pytest.raises(NotFound):
        queries.erase(1)


def test_another_images_file_that_cannot_be_removed_does_not_stop_an_erasure(folder):
    first, second = save(), save()
    (file,) = (file for file in files(folder) if file.name == name_of(first))
    file.unlink()
    file.mkdir()
    with pytest.raises(StoreUnavailable):
        queries.erase(first.id)
    queries.erase(second.id)
    assert (files(folder), scheduled()) == ([], 1)


def name_of(image):
    db.session.rollback()
    return db.session.scalar(select(ImageRow.picture_file).where(ImageRow.id == image.id))


def test_an_erasure_whose_process_died_after_the_commit_is_finished_by_the_next_one(
    folder, monkeypatch
):
    first, second = save(), save()
    with monkeypatch.context() as patch:
        fail_at(patch, queries, "remove_erased", error=KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            queries.erase(first.id)
    assert (rows(), len(files(folder)), scheduled()) == (1, 2, 1)
    queries.erase(second.id)
    assert (files(folder), scheduled()) == ([], 0)


def test_an_erasure_is_confirmed_where_only_its_removal_cannot_be_forgotten(folder, monkeypatch):
    saved = save()
    with monkeypatch.context() as patch:
        fail_at(patch, db.session, "commit", only=3)
        queries.erase(saved.id)
    assert (rows(), files(folder)) == (0, [])
    kept_images.remove_due()
    assert scheduled() == 0


def test_an_image_whose_file_is_missing_can_be_erased(folder, caplog):
    saved = save()
    files(folder)[0].unlink()
    with pytest.raises(NotFound, match="missing"):
        queries.picture(saved.id)
    assert f"the file of image {saved.id} is not served" in caplog.text
    queries.erase(saved.id)
    with pytest.raises(NotFound):
        queries.get(saved.id)


def test_saves_and_erasures_at_once_leave_no_file_without_a_row(folder, app):
    failures = []

    def work(number):
        with app.app_context():
            try:
                for turn in range(6):
                    saved = save()
                    if (turn + number) % 2:
                        queries.erase(saved.id)
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert rows() == len(files(folder)) == 12
    assert scheduled() == 0


# ---------------------------------------------------------------- strays


def test_strays_of_this_database_are_removed_and_nothing_else(folder, app):
    saved = save()
    mark = db.session.scalars(select(StoreRow.mark)).one()
    db.session.execute(update(FileRemovalRow).values(due_at=datetime.now(UTC)))
    stray, waiting, others = new_name(mark), new_name(mark), new_name("0" * 12)
    for name in (stray, waiting, others):
        app.extensions["pictures"].write(name, IMAGE)
    db.session.add(FileRemovalRow(name=waiting, due_at=datetime.now(UTC) + timedelta(minutes=1)))
    db.session.commit()
    for file in files(folder):
        os.utime(file, (time.time() - 7200,) * 2)
    assert kept_images.remove_strays() == 1
    assert {file.name for file in files(folder)} == {name_of(saved), waiting, others}
    assert kept_images.remove_strays() == 0


def test_each_database_has_its_own_mark(folder):
    first = db.session.scalars(select(StoreRow.mark)).one()
    assert len(first) == 12
    db.session.remove()
    downgrade("0007")
    upgrade()
    assert db.session.scalars(select(StoreRow.mark)).one() != first


# ---------------------------------------------------------------- rows from before


def test_older_rows_know_from_their_files_whether_they_are_plain(empty_database_app, tmp_path):
    app = empty_database_app
    settings = app.extensions["settings"]
    object.__setattr__(settings, "pictures_dir", tmp_path)
    upgrade(revision="0007")
    contents = {"a" * 32: IMAGE, "b" * 32: ENCRYPTED + b"anything", "c" * 32: None}
    with db.engine.begin() as connection:
        for name, data in contents.items():
            connection.execute(
                text(
                    "INSERT INTO images (created_at, file_name, threshold, width, height, "
                    "face_count, model_name, model_version, model_sha256, detector, timings_ms, "
                    "picture_file) VALUES ('2026-01-01 00:00:00', 'a', 0.5, 1, 1, 0, 'm', '1', "
                    "'0', 'd', '{}', :name)"
                ),
                {"name": name},
            )
            if data is not None:
                (tmp_path / name[:2]).mkdir()
                (tmp_path / name[:2] / name).write_bytes(data)
    upgrade()
    found = dict(
        map(tuple, db.session.execute(select(ImageRow.picture_file, ImageRow.picture_sha256)))
    )
    assert found == {
        "a" * 32: hashlib.sha256(IMAGE).hexdigest(),
        "b" * 32: None,
        "c" * 32: None,
    }
    app.extensions["pictures"] = ImageFolder(tmp_path, keeps=False)
    assert queries.picture(1) == IMAGE
