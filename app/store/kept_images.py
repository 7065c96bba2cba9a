"""Keeps the files and rows of kept images consistent after failures.

Every file has a row: either the row of an image, or a row of `file_removals`, which schedules the
removal of the file.

Saving an image:

1. Insert a removal that is due in a minute, and commit.
2. Write the file.
3. In one transaction, insert the image and delete the removal.

Erasing an image:

1. In one transaction, delete the image and insert a removal.
2. Remove the file.
3. Delete the removal.

If a step fails or the process ends, the removal remains scheduled, and `remove_due` removes the
file later.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from sqlalchemy import ColumnElement, delete, insert, literal, select, update

from app.errors import EmotionError, StoreUnavailable
from app.store.connections import clean_up_deadline
from app.store.image_store import image_store, random_digits
from app.store.tables import FileRemovalRow, ImageRow, StoreRow, UtcDateTime, db
from app.store.transactions import read_transaction, write_transaction

log = logging.getLogger(__name__)

# Time for a save between its two commits, and for a process to remove a file. A longer save fails.
# After a longer removal, another process may remove the same file, which does no harm.
LEASE = timedelta(seconds=60)
REMOVAL_BATCH = 2_000
LOOKUP_BATCH = 500


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file whose image is not committed yet. Its removal is scheduled for `due_at`.

    `digest` is the result of ImageStore.write.
    """

    name: str
    digest: str | None
    due_at: datetime


@contextmanager
def kept_file(data: bytes | None) -> Iterator[KeptFile | None]:
    """Write the file of an image. The `with` block inserts the image.

    Yields None if `data` is None or the service does not keep images.

    The block must call `cancel_removal` in the transaction that inserts the image. If the block
    raises, the file is removed, unless the commit succeeded before the error. Raises
    StoreUnavailable.
    """
    if data is None or not image_store().keeps:
        yield None
        return
    due_at = datetime.now(UTC) + LEASE
    with write_transaction():
        name = _schedule_new_name(due_at)
    try:
        yield KeptFile(name, image_store().write(name, data), due_at)
    except BaseException:
        _discard(name, due_at)
        raise


def _schedule_new_name(due_at: datetime) -> str:
    # One statement: SQLite may refuse a write in a transaction that began as a read.
    removal = select(literal(random_digits()) + StoreRow.database_id, literal(due_at, UtcDateTime))
    scheduled = insert(FileRemovalRow).from_select(["name", "due_at"], removal)
    return db.session.scalars(scheduled.returning(FileRemovalRow.name)).one()


@contextmanager
def removed_on_error(file: KeptFile | None) -> Iterator[None]:
    """Remove the file if the block raises.

    Use it within the transaction that inserts the image. An error before the commit means that the
    image is not stored, so the file is removed even if the database has become unavailable.
    """
    try:
        yield
    except BaseException:
        if file:
            image_store().remove([file.name])
        raise


def cancel_removal(file: KeptFile) -> None:
    """Cancel the scheduled removal, in the transaction that inserts the image.

    Raises StoreUnavailable if another process has begun the removal, because the save took longer
    than LEASE.
    """
    if not _cancel(file.name, file.due_at):
        raise StoreUnavailable(
            "saving took too long, so the image was not stored: send the request again"
        )


def _cancel(name: str, due_at: datetime) -> bool:
    # A process that removes the file changes `due_at` first.
    scheduled = (FileRemovalRow.name == name, FileRemovalRow.due_at == due_at)
    cancelled = delete(FileRemovalRow).where(*scheduled).returning(FileRemovalRow.name)
    return db.session.scalar(cancelled) is not None


def _discard(name: str, due_at: datetime) -> None:
    try:
        with clean_up_deadline(), write_transaction():
            # If the removal no longer exists, the image was committed, and the file must stay.
            if _cancel(name, due_at) and not image_store().remove([name]):
                raise StoreUnavailable("the file of a kept image cannot be removed")
    except EmotionError as error:
        log.warning("the file of an image that was not stored will be removed later: %s", error)


def schedule_removals(image_ids: Mapping[str, int]) -> None:
    """Schedule the removal of files, in the transaction that deletes their images.

    `image_ids` maps the name of each file to the id of its image.
    """
    due_at = datetime.now(UTC) + LEASE  # the time for this process to remove the files
    rows = [
        {"name": name, "image_id": image_id, "due_at": due_at}
        for name, image_id in image_ids.items()
    ]
    if rows:
        db.session.execute(insert(FileRemovalRow), rows)


def is_being_erased(image_id: int) -> bool:
    """Return whether the file of an erased image still exists. Call it within a transaction."""
    scheduled = select(FileRemovalRow.name).where(FileRemovalRow.image_id == image_id)
    return db.session.scalar(scheduled.limit(1)) is not None


def remove_erased(image_id: int | None = None) -> None:
    """Remove the file of an erased image, or the files of all erased images.

    Raises StoreUnavailable if a file cannot be removed. Its removal stays scheduled.
    """
    erased = FileRemovalRow.image_id
    _, failed = _remove(erased.is_not(None) if image_id is None else erased == image_id)
    if failed:
        raise StoreUnavailable(
            "the results are erased, but the file of a kept image cannot be removed yet: "
            "send the same request again"
        )


def remove_due() -> int:
    """Remove the files of failed requests and ended processes. Return the number of removed files.

    Raises StoreUnavailable if the database is unavailable.
    """
    removed, _ = _remove(
        FileRemovalRow.image_id.is_not(None) | (FileRemovalRow.due_at <= datetime.now(UTC))
    )
    return removed


def _remove(condition: ColumnElement[bool]) -> tuple[int, int]:
    """Remove files with a scheduled removal. Return the numbers of removed and failed files."""
    removed_count = failed = 0
    last = ""
    while True:
        batch = select(FileRemovalRow.name).where(condition, FileRemovalRow.name > last)
        batch = batch.order_by(FileRemovalRow.name).limit(REMOVAL_BATCH)
        with read_transaction():
            names = db.session.scalars(batch).all()
        if not names:
            return removed_count, failed
        last = names[-1]
        with write_transaction():
            # With the new `due_at`, a save in progress can no longer cancel the removal.
            leased = update(FileRemovalRow).values(due_at=datetime.now(UTC) + LEASE)
            leased = leased.where(FileRemovalRow.name.in_(names), condition)
            names = db.session.scalars(leased.returning(FileRemovalRow.name)).all()
        removed = image_store().remove(names)
        removed_count += len(removed)
        failed += len(names) - len(removed)
        _forget(removed)


def _forget(removed: set[str]) -> None:
    try:
        with write_transaction():
            db.session.execute(delete(FileRemovalRow).where(FileRemovalRow.name.in_(removed)))
    except EmotionError as error:  # repeating the removal does no harm
        log.warning("the removals of removed files stay scheduled: %s", error)


def remove_orphans() -> int:
    """Remove the files that this database wrote and that have no row. Return their number.

    Such files exist after a backup of the database was restored. Raises StoreUnavailable.
    """
    with read_transaction():
        database_id = db.session.scalars(select(StoreRow.database_id)).one()
    found = image_store().files_of_database(database_id)
    removed = 0
    while names := list(islice(found, LOOKUP_BATCH)):
        # A row is always older than its file, so a file without a row is an orphan.
        orphans = set(names) - _names_with_row(names)
        removed_names = image_store().remove(orphans)
        removed += len(removed_names)
        if removed_names != orphans:
            raise StoreUnavailable("a kept image without a result cannot be removed")
    return removed


def _names_with_row(names: Sequence[str]) -> set[str]:
    with read_transaction():
        return {
            *db.session.scalars(
                select(ImageRow.picture_file).where(ImageRow.picture_file.in_(names))
            ),
            *db.session.scalars(select(FileRemovalRow.name).where(FileRemovalRow.name.in_(names))),
        }
