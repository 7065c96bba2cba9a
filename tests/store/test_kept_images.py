"""Rows and files of kept images are consistent after each failure."""

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
from app.store.image_folder import ImageFolder
from app.store.migrate import downgrade, upgrade
from app.store.records import Filters
from app.store.tables import FileRemovalRow, ImageRow, StoreRow, db
from tests.store.test_image_folder import IMAGE, KEY, files, new_name
from tests.store.test_queries import ANGRY, HAPPY, analysis


@pytest.fixture
def folder(database_app, tmp_path):
    """The folder of an application that keeps encrypted images, on each database."""
    path = tmp_path / "images"
    database_app.extensions["image_store"] = ImageFolder(path, keeps=True, cipher=Cipher(KEY))
    return path


@pytest.fixture
def app(folder, database_app):
    return database_app


def save(*faces, **options):
    return queries.save(analysis(*(faces or (HAPPY,))), image_file=IMAGE, **options)


def scheduled():
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(FileRemovalRow))


def rows():
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(ImageRow))


def make_removals_due():
    db.session.execute(update(FileRemovalRow).values(due_at=datetime.now(UTC)))
    db.session.commit()


def fail_at(monkeypatch, owner, name, *, after=False, error=StoreUnavailable, only=None):
    """Let a function raise before its work, or after it. `only`: the number of the call, from 1."""
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
def test_save_keeps_the_file_and_leaves_no_removal(folder, app, key):
    if not key:
        app.extensions["image_store"] = ImageFolder(folder, keeps=True)
    saved = save()
    assert queries.image_file(saved.id) == IMAGE
    assert (len(files(folder)), scheduled()) == (1, 0)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("owner", "name"), [(queries, "insert_analysis"), (insertion, "cancel_removal")]
)
def test_failure_before_the_commit_leaves_no_row_and_no_file(
    folder, monkeypatch, owner, name, after
):
    fail_at(monkeypatch, owner, name, after=after)
    with pytest.raises(StoreUnavailable):
        save()
    assert (rows(), files(folder), scheduled()) == (0, [], 0)


def test_failure_of_the_write_leaves_no_row_and_no_file(folder, monkeypatch):
    fail_at(monkeypatch, folder_module.os, "fsync", error=OSError, only=1)
    with pytest.raises(StoreUnavailable):
        save()
    assert (rows(), files(folder), scheduled()) == (0, [], 0)


def test_failed_commit_leaves_no_row_and_no_file(folder, monkeypatch):
    fail_at(monkeypatch, db.session, "commit", only=2)
    with pytest.raises(StoreUnavailable):
        save()
    assert (rows(), files(folder), scheduled()) == (0, [], 0)


def test_commit_with_a_lost_response_keeps_row_and_file(folder, monkeypatch):
    fail_at(monkeypatch, db.session, "commit", only=2, after=True)
    with pytest.raises(StoreUnavailable):
        save()
    assert (rows(), len(files(folder)), scheduled()) == (1, 1, 0)
    assert queries.image_file(1) == IMAGE


def test_file_is_not_written_if_its_removal_cannot_be_scheduled(folder, monkeypatch):
    fail_at(monkeypatch, db.session, "commit")
    with pytest.raises(StoreUnavailable):
        save()
    assert (rows(), files(folder)) == (0, [])


def test_save_to_a_full_database_leaves_no_file(folder):
    if db.engine.dialect.name != "sqlite":
        pytest.skip("only SQLite has a limit for the size of the database")
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
def test_file_of_a_process_that_died_before_the_commit_is_removed_later(
    folder, app, monkeypatch, restarted
):
    saved = save()
    with monkeypatch.context() as patch:
        fail_at(patch, queries, "insert_analysis", error=KeyboardInterrupt)
        patch.setattr(ImageFolder, "remove", lambda *_: set())  # the process has ended
        patch.setattr(kept_images, "_discard", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            save()
    assert (len(files(folder)), scheduled()) == (2, 1)
    assert kept_images.remove_due() == 0  # another process may still save the image
    make_removals_due()
    if restarted:
        queries.clean_up()
        assert (len(files(folder)), scheduled()) == (1, 0)
    else:
        save()
        assert (len(files(folder)), scheduled()) == (2, 0)
    assert queries.image_file(saved.id) == IMAGE


@pytest.mark.parametrize("still_removing", [False, True])
def test_save_that_exceeds_its_lease_fails_and_leaves_nothing(folder, monkeypatch, still_removing):
    real = ImageFolder.write

    def slow(*arguments):
        digest = real(*arguments)
        make_removals_due()
        with monkeypatch.context() as patch:
            if still_removing:
                patch.setattr(kept_images, "_forget", lambda _: None)
            assert kept_images.remove_due() == 1
        return digest

    monkeypatch.setattr(ImageFolder, "write", slow)
    with pytest.raises(StoreUnavailable, match="too long"):
        save()
    assert (rows(), files(folder), scheduled()) == (0, [], int(still_removing))


def test_replay_leaves_no_second_file(folder):
    idempotent = IdempotentRequest("", "key", 0, "f" * 64)
    save(idempotent=idempotent)
    with pytest.raises(AlreadyStored):
        save(idempotent=idempotent)
    assert (rows(), len(files(folder)), scheduled()) == (1, 1, 0)


def test_older_files_can_be_read_and_erased_after_keeping_is_disabled(folder, app):
    old = save()
    app.extensions["image_store"].keeps = False
    new = save()
    with pytest.raises(NotFound, match="not kept"):
        queries.image_file(new.id)
    assert queries.image_file(old.id) == IMAGE
    queries.erase(old.id)
    assert files(folder) == []


# ---------------------------------------------------------------- erasing


def test_erase_removes_only_the_file_of_the_image_and_logs_the_id(folder, caplog):
    first, second = save(), save()
    name = files(folder)[0].name
    with caplog.at_level("INFO"):
        queries.erase(first.id)
    assert caplog.messages == [f"images {first.id} are erased"]
    assert name not in caplog.text
    assert (len(files(folder)), scheduled()) == (1, 0)
    assert queries.image_file(second.id) == IMAGE
    with pytest.raises(NotFound):
        queries.image_file(first.id)


def test_erase_matching_removes_the_files_and_logs_the_ids(folder, caplog):
    for face in (HAPPY, HAPPY, ANGRY, HAPPY):
        save(face)
    with caplog.at_level("INFO"):
        assert queries.erase_matching(Filters(emotion="happiness")) == 3
    assert caplog.messages == ["images 1–2, 4 are erased"]
    assert (len(files(folder)), scheduled()) == (1, 0)
    assert queries.image_file(3) == IMAGE


def test_erase_matching_removes_files_in_batches(folder, monkeypatch):
    monkeypatch.setattr(kept_images, "REMOVAL_BATCH", 2)
    for _ in range(5):
        save()
    assert queries.erase_matching(Filters(model="net_8")) == 5
    assert (files(folder), scheduled()) == ([], 0)


ERASURES = {
    "one": lambda: queries.erase(1),
    "matching": lambda: queries.erase_matching(Filters(model="net_8")),
}


@pytest.mark.parametrize("erasure", ERASURES)
def test_erasure_that_is_not_committed_removes_no_file(folder, monkeypatch, erasure):
    saved = save()
    with monkeypatch.context() as patch:
        fail_at(patch, db.session, "commit")
        with pytest.raises(StoreUnavailable):
            ERASURES[erasure]()
    assert queries.get(saved.id) == saved
    assert queries.image_file(saved.id) == IMAGE
    assert scheduled() == 0


@pytest.mark.parametrize("erasure", ERASURES)
def test_erasure_fails_until_the_file_can_be_removed(folder, monkeypatch, erasure):
    save()
    with monkeypatch.context() as patch:
        fail_at(patch, folder_module.Path, "unlink", error=PermissionError)
        for _ in range(2):  # a repeated request fails too
            with pytest.raises(StoreUnavailable, match="again"):
                ERASURES[erasure]()
            assert (rows(), len(files(folder)), scheduled()) == (0, 1, 1)
        kept_images.remove_due()
        assert scheduled() == 1
    ERASURES[erasure]()
    assert (files(folder), scheduled()) == ([], 0)
    with pytest.raises(NotFound):
        queries.erase(1)


def test_erase_succeeds_while_the_file_of_another_image_cannot_be_removed(folder):
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


def test_next_erasure_finishes_the_erasure_of_a_process_that_died(folder, monkeypatch):
    first, second = save(), save()
    with monkeypatch.context() as patch:
        fail_at(patch, queries, "remove_erased", error=KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            queries.erase(first.id)
    assert (rows(), len(files(folder)), scheduled()) == (1, 2, 1)
    queries.erase(second.id)
    assert (files(folder), scheduled()) == ([], 0)


def test_erase_succeeds_if_only_the_row_of_the_removal_remains(folder, monkeypatch):
    saved = save()
    with monkeypatch.context() as patch:
        fail_at(patch, db.session, "commit", only=3)
        queries.erase(saved.id)
    assert (rows(), files(folder)) == (0, [])
    kept_images.remove_due()
    assert scheduled() == 0


def test_image_with_a_missing_file_can_be_erased(folder, caplog):
    saved = save()
    files(folder)[0].unlink()
    with pytest.raises(NotFound, match="missing"):
        queries.image_file(saved.id)
    assert f"cannot serve the file of image {saved.id}" in caplog.text
    queries.erase(saved.id)
    with pytest.raises(NotFound):
        queries.get(saved.id)


def test_parallel_saves_and_erasures_leave_no_file_without_a_row(folder, app):
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


# ---------------------------------------------------------------- orphans


def test_remove_orphans_removes_only_orphans_of_this_database(folder, app):
    saved = save()
    database_id = db.session.scalars(select(StoreRow.database_id)).one()
    db.session.execute(update(FileRemovalRow).values(due_at=datetime.now(UTC)))
    orphan, scheduled_file, other_database_file = (
        new_name(database_id),
        new_name(database_id),
        new_name("0" * 12),
    )
    for name in (orphan, scheduled_file, other_database_file):
        app.extensions["image_store"].write(name, IMAGE)
    db.session.add(
        FileRemovalRow(name=scheduled_file, due_at=datetime.now(UTC) + timedelta(minutes=1))
    )
    db.session.commit()
    for file in files(folder):
        os.utime(file, (time.time() - 7200,) * 2)
    assert kept_images.remove_orphans() == 1
    assert {file.name for file in files(folder)} == {
        name_of(saved),
        scheduled_file,
        other_database_file,
    }
    assert kept_images.remove_orphans() == 0


def test_new_database_gets_another_id(folder):
    first = db.session.scalars(select(StoreRow.database_id)).one()
    assert len(first) == 12
    db.session.remove()
    downgrade("0007")
    upgrade()
    assert db.session.scalars(select(StoreRow.database_id)).one() != first
