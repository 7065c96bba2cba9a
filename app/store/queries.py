"""Saves, erases and reads images and their faces. A function is one transaction, except
`all_faces`, which reads page by page.

Analyses are returned whole; the caller applies thresholds.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from flask import current_app
from sqlalchemy import ColumnElement, column, delete, func, inspect, select, table

from app.errors import EmotionError, NotFound
from app.store.database import wal_cleaner
from app.store.erasure_log import log_erased
from app.store.idempotency import IdempotentRequest, forget_old
from app.store.image_folder import image_folder
from app.store.insertion import insert_analysis
from app.store.kept_images import (
    is_being_erased,
    kept_file,
    remove_due,
    remove_erased,
    removed_on_error,
    schedule_removals,
)
from app.store.matching import face_conditions, image_conditions, matching_images
from app.store.paging import every_item, image_keys, part_keys, read_page
from app.store.person_matching import image_has_person
from app.store.reading import faces_by_image, images_by_id, read_faces
from app.store.records import Filters, FoundFace, Page
from app.store.rollups import add_saved, lock_watermark, subtract
from app.store.tables import EmotionRow, FaceRow, ImageRow, db
from app.store.transactions import read_transaction, write_transaction
from app.vision.types import Analysis, Face

log = logging.getLogger(__name__)

ALEMBIC_VERSION = table("alembic_version", column("version_num"))
MAINTENANCE_EVERY = 256  # saved images: rollups are updated, and old idempotency records deleted


# ---------------------------------------------------------------- write


def save(
    analysis: Analysis, idempotent: IdempotentRequest | None = None, picture: bytes | None = None
) -> Analysis:
    """Commit an analysis, whole or not at all, and return it with its id. `picture`, the file of
    the image, is kept beside it if the operator enabled that.

    Raises AlreadyStored when the analysis of the same request is stored already, KeyReused when the
    key of `idempotent` was used for another request, and StoreUnavailable.
    """
    with kept_file(picture) as file, write_transaction(), removed_on_error(file):
        image_id = insert_analysis(analysis, idempotent, file)
    if image_id % MAINTENANCE_EVERY == 0:
        _tidy_up(add_saved, forget_old)
    if file:
        _tidy_up(remove_due)
    return replace(analysis, id=image_id)


def clean_up() -> None:
    """Finish the work of processes that have ended, if the database answers. Called when a worker
    starts."""
    _tidy_up(remove_due, forget_old)


def _tidy_up(*steps: Callable[[], object]) -> None:
    """Do maintenance work. A failure is only logged: the caller's own work is committed already,
    and the maintenance is tried again later."""
    try:
        for step in steps:
            step()
    except Exception as error:  # the message of a driver's error may quote values of the query
        log.warning(
            "maintenance of the database failed and is tried again later: %s",
            error if isinstance(error, EmotionError) else type(error).__name__,
        )


def erase(image_id: int) -> None:
    """Erase an image and all that belongs to it, its file included.

    Raises NotFound. Raises StoreUnavailable when the file cannot be removed; the image is erased
    then, and calling this again tries to remove the file again.
    """
    with write_transaction():
        subtract([ImageRow.id == image_id])
        erased = _delete([ImageRow.id == image_id])
        if not erased and not is_being_erased(image_id):
            raise NotFound(f"no image {image_id}")
    log_erased(erased)
    wal_cleaner().clean()
    remove_erased(image_id)
    _tidy_up(remove_due)


def erase_matching(filters: Filters) -> int:
    """Erase all images that match, all or none of them, and return their number.

    Raises StoreUnavailable as `erase` does, also for a file that an earlier erasure did not remove.
    """
    with write_transaction():
        lock_watermark()  # first, so that all statements below see the same images
        conditions = matching_images(filters)
        subtract(conditions)
        erased = _delete(conditions)
    log_erased(erased)
    wal_cleaner().clean()
    remove_erased()
    _tidy_up(remove_due)
    return len(erased)


def _delete(conditions: Sequence[ColumnElement[bool]]) -> list[int]:
    """Delete images and, by the database's own rules, the rows that belong to them, and schedule
    the removal of their files. Return the ids in ascending order."""
    query = delete(ImageRow).where(*conditions).returning(ImageRow.id, ImageRow.picture_file)
    rows = db.session.execute(query, execution_options={"synchronize_session": False}).all()
    schedule_removals({row.picture_file: row.id for row in rows if row.picture_file})
    return sorted(row.id for row in rows)


# ---------------------------------------------------------------- read


def find(image_id: int) -> Analysis | None:
    """The stored analysis, or None if there is no image with this id."""
    with read_transaction():
        return images_by_id([image_id]).get(image_id)


def get(image_id: int) -> Analysis:
    """The stored analysis. Raises NotFound."""
    if (found := find(image_id)) is None:
        raise NotFound(f"no image {image_id}")
    return found


def picture(image_id: int) -> bytes:
    """The file of an image as the client sent it. Raises NotFound when the image does not exist or
    its file is not kept, and StoreUnavailable when the file cannot be served."""
    with read_transaction():
        row = db.session.execute(
            select(ImageRow.picture_file, ImageRow.picture_sha256).where(ImageRow.id == image_id)
        ).one_or_none()
    if row is None:
        raise NotFound(f"no image {image_id}")
    if row.picture_file is None:
        raise NotFound(f"the picture of image {image_id} is not kept")
    try:
        return image_folder().read(row.picture_file, row.picture_sha256)
    except EmotionError as error:
        log.error("the file of image %d is not served: %s", image_id, error)
        raise


def faces(image_id: int) -> list[Face]:
    """The faces of an image, in their order. Raises NotFound."""
    with read_transaction():
        if db.session.scalar(select(ImageRow.id).where(ImageRow.id == image_id)) is None:
            raise NotFound(f"no image {image_id}")
        return faces_by_image([image_id])[image_id]


def page_of_images(filters: Filters, *, size: int, cursor: str | None) -> Page[Analysis]:
    """Images that match, newest first. Raises InvalidCursor."""
    query = image_keys(cursor)
    with read_transaction():
        keys = read_page(query.where(*matching_images(filters)), size)
        images = images_by_id([key.id for key in keys.items])
    return Page([images[key.id] for key in keys.items], keys.next_cursor)


def page_of_faces(filters: Filters, *, size: int, cursor: str | None) -> Page[FoundFace]:
    """Faces that match, the faces of the newest image first. Raises InvalidCursor."""
    query = part_keys(FaceRow, cursor)
    with read_transaction():
        query = query.where(
            *image_conditions(filters),
            *face_conditions(filters),
            *image_has_person(filters.persons),
        )
        keys = read_page(query, size)
        images = images_by_id([key.image_id for key in keys.items], whole=False)
        faces = read_faces(FaceRow.id.in_([key.id for key in keys.items]))
    items = [
        FoundFace(replace(images[key.image_id], faces=(faces[key.id].face,)), key.number)
        for key in keys.items
    ]
    return Page(items, keys.next_cursor)


def all_faces(filters: Filters, *, batch: int = 200) -> Iterator[FoundFace]:
    """Every face that matches, the faces of the newest image first: see `every_item`."""
    return every_item(lambda cursor: page_of_faces(filters, size=batch, cursor=cursor))


def emotion_names() -> list[str]:
    """The names of all stored emotions, sorted. Seeks along the index from name to name, so the
    cost depends on the number of names and not of rows."""
    names: list[str] = []
    query = select(func.min(EmotionRow.emotion))
    with read_transaction():
        while name := db.session.scalar(
            query.where(EmotionRow.emotion > names[-1]) if names else query
        ):
            names.append(name)
    return names


def revision_problem() -> str | None:
    """None when the database is at the head revision; otherwise what is wrong and what to do.

    Raises StoreUnavailable when the database does not answer.
    """
    # Without Alembic, which takes memory: see app.store.migrate. Its files are numbered.
    versions: Path = current_app.extensions["migrations"] / "versions"
    head = max(path.name.partition("_")[0] for path in versions.glob("[0-9]*_*.py"))
    current = None
    with read_transaction():
        if inspect(db.session.connection()).has_table(ALEMBIC_VERSION.name):
            current = db.session.scalar(select(ALEMBIC_VERSION.c.version_num))
    if current == head:
        return None
    return f"the database is at revision {current}, not {head}: run `flask db upgrade`"
