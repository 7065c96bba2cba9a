"""Keeps files and rows of kept images consistent, whatever fails in between.

Every file is known to the database for as long as it exists: an image's row names it, or a row of
`file_removals` schedules its removal.

- Saving commits a removal that becomes due in a minute, writes the file, and then, in one
  transaction, inserts the image and withdraws the removal.
- Erasing deletes the image and schedules the removal in one transaction, removes the file, and then
  deletes the removal.

After a failure or the death of a process, a scheduled removal is left; `remove_due` carries it out.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from sqlalchemy import ColumnElement, delete, insert, literal, select, update

from app.errors import EmotionError, StoreUnavailable
from app.store.connections import time_to_clean_up
from app.store.image_folder import image_folder, random_digits
from app.store.tables import FileRemovalRow, ImageRow, StoreRow, UtcDateTime, db
from app.store.transactions import read_transaction, write_transaction

log = logging.getLogger(__name__)

# The time for a save between its two commits, and for the process that removes a file. Exceeding it
# is safe: such a save fails, and two processes may remove the same file.
LEASE = timedelta(seconds=60)
REMOVED_AT_ONCE = 2_000
LOOKED_UP_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file whose image is about to be committed. Its removal is scheduled for `due_at`. `digest`:
    see ImageFolder.write."""

    name: str
    digest: str | None
    due_at: datetime


@contextmanager
def kept_file(data: bytes | None) -> Iterator[KeptFile | None]:
    """Write a file for the image that the block commits, or yield None where none is kept.

    The block's transaction must call `withdraw_removal`. When the block raises, the file is removed
    unless the transaction was committed after all. Raises StoreUnavailable.
    """
    if data is None or not image_folder().keeps:
        yield None
        return
    due_at = datetime.now(UTC) + LEASE
    with write_transaction():
        name = _schedule_new_name(due_at)
    try:
        yield KeptFile(name, image_folder().write(name, data), due_at)
    except BaseException:
        _discard(name, due_at)
        raise


def _schedule_new_name(due_at: datetime) -> str:
    # One statement: SQLite may refuse a write in a transaction that began as a read.
    removal = select(literal(random_digits()) + StoreRow.mark, literal(due_at, UtcDateTime))
    scheduled = insert(FileRemovalRow).from_select(["name", "due_at"], removal)
    return db.session.scalars(scheduled.returning(FileRemovalRow.name)).one()


@contextmanager
def removed_on_error(file: KeptFile | None) -> Iterator[None]:
    """Remove the file when the block raises. For use within the transaction: before the commit it
    is certain that the image is not stored."""
    try:
        yield
    except BaseException:
        if file:
            image_folder().remove([file.name])
        raise


def withdraw_removal(file: KeptFile) -> None:
    """Withdraw the scheduled removal, in the transaction that inserts the image. Raises
    StoreUnavailable when the removal has begun because saving took longer than the lease."""
    if not _withdraw(file.name, file.due_at):
        raise StoreUnavailable("saving took too long: the kept image was given up")


def _withdraw(name: str, due_at: datetime) -> bool:
    # A process that removes the file changes `due_at` first.
    scheduled = (FileRemovalRow.name == name, FileRemovalRow.due_at == due_at)
    withdrawn = delete(FileRemovalRow).where(*scheduled).returning(FileRemovalRow.name)
    return db.session.scalar(withdrawn) is not None


def _discard(name: str, due_at: datetime) -> None:
    try:
        with time_to_clean_up(), write_transaction():
            # If the outcome of the commit is unknown, this decides: a commit withdraws the removal.
            if _withdraw(name, due_at) and not image_folder().remove([name]):
                raise StoreUnavailable("the file of a kept image cannot be removed")
    except EmotionError as error:
        log.warning("the file of an image that was not stored will be removed later: %s", error)


def schedule_removals(image_ids: Mapping[str, int]) -> None:
    """Schedule the removal of erased images' files, given {name: id of the image}, in the
    transaction that deletes the images."""
    due_at = datetime.now(UTC) + LEASE  # until then the erasing process removes them
    rows = [
        {"name": name, "image_id": image_id, "due_at": due_at}
        for name, image_id in image_ids.items()
    ]
    if rows:
        db.session.execute(insert(FileRemovalRow), rows)


def is_being_erased(image_id: int) -> bool:
    """Whether the image is erased and its file not yet removed. Call it within a transaction."""
    scheduled = select(FileRemovalRow.name).where(FileRemovalRow.image_id == image_id)
    return db.session.scalar(scheduled.limit(1)) is not None


def remove_erased(image_id: int | None = None) -> None:
    """Remove the files of an erased image, or of all erased images. Raises StoreUnavailable where
    a file cannot be removed; it stays scheduled."""
    erased = FileRemovalRow.image_id
    _, failed = _remove(erased.is_not(None) if image_id is None else erased == image_id)
    if failed:
        raise StoreUnavailable(
            "the results are erased, but the file of a kept image cannot be removed yet: "
            "send the same request again"
        )


def remove_due() -> int:
    """Remove the files that failed requests and dead processes left, and return their number.
    Raises StoreUnavailable where the database does not answer."""
    gone, _ = _remove(
        FileRemovalRow.image_id.is_not(None) | (FileRemovalRow.due_at <= datetime.now(UTC))
    )
    return gone


def _remove(condition: ColumnElement[bool]) -> tuple[int, int]:
    """Carry out scheduled removals; return the numbers of removed and of failed ones."""
    gone = failed = 0
    last = ""
    while True:
        batch = select(FileRemovalRow.name).where(condition, FileRemovalRow.name > last)
        batch = batch.order_by(FileRemovalRow.name).limit(REMOVED_AT_ONCE)
        with read_transaction():
            names = db.session.scalars(batch).all()
        if not names:
            return gone, failed
        last = names[-1]
        with write_transaction():
            # From here on a save that is still in progress cannot withdraw the removal.
            leased = update(FileRemovalRow).values(due_at=datetime.now(UTC) + LEASE)
            leased = leased.where(FileRemovalRow.name.in_(names), condition)
            names = db.session.scalars(leased.returning(FileRemovalRow.name)).all()
        removed = image_folder().remove(names)
        gone += len(removed)
        failed += len(names) - len(removed)
        _forget(removed)


def _forget(removed: set[str]) -> None:
    try:
        with write_transaction():
            db.session.execute(delete(FileRemovalRow).where(FileRemovalRow.name.in_(removed)))
    except EmotionError as error:  # the files are gone, so repeating the removal is harmless
        log.warning("removals of files stay scheduled although they are done: %s", error)


def remove_strays() -> int:
    """Remove files of this database that it does not know, and return their number. There are such
    files after a backup of the database was restored. Raises StoreUnavailable."""
    with read_transaction():
        mark = db.session.scalars(select(StoreRow.mark)).one()
    found = image_folder().marked(mark)
    removed = 0
    while names := list(islice(found, LOOKED_UP_AT_ONCE)):
        # Names are looked up after their files were found: the row is always older than the file.
        strays = set(names) - _known(names)
        gone = image_folder().remove(strays)
        removed += len(gone)
        if gone != strays:
            raise StoreUnavailable("a kept image that belongs to no result cannot be removed")
    return removed


def _known(names: Sequence[str]) -> set[str]:
    with read_transaction():
        return {
            *db.session.scalars(
                select(ImageRow.picture_file).where(ImageRow.picture_file.in_(names))
            ),
            *db.session.scalars(select(FileRemovalRow.name).where(FileRemovalRow.name.in_(names))),
        }
