"""Saves, erases and reads images and their faces.

Each function is one transaction, except `all_faces`, which reads page by page. Analyses contain all
scores, and the caller applies thresholds.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from flask import current_app
from sqlalchemy import ColumnElement, column, delete, inspect, select, table

from app.errors import EmotionError, NotFound
from app.store.database import wal_cleaner
from app.store.erasure_log import log_erased
from app.store.idempotency import IdempotentRequest, delete_expired
from app.store.image_store import image_store
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
from app.store.paging import image_keys, iterate_pages, part_keys, read_page
from app.store.person_matching import image_has_person
from app.store.reading import distinct_names, faces_by_image, images_by_id, read_faces
from app.store.records import Filters, FoundFace, Page
from app.store.rollups import add_new_images, lock_watermark, subtract_images
from app.store.tables import EmotionRow, FaceRow, ImageRow, db
from app.store.transactions import read_transaction, write_transaction
from app.vision.types import Analysis, Face

log = logging.getLogger(__name__)

ALEMBIC_VERSION = table("alembic_version", column("version_num"))
MAINTENANCE_EVERY = 256  # saved images between two maintenance runs


# ---------------------------------------------------------------- write


def save(
    analysis: Analysis, idempotent: IdempotentRequest | None = None, image_file: bytes | None = None
) -> Analysis:
    """Commit an analysis in one transaction and return it with its id.

    `image_file` is the file of the image, which is stored if EMOTION_KEEP_PICTURES is set. Raises
    AlreadyStored if the analysis of the same request is already stored, KeyReused if the key of
    `idempotent` was used for another request, and StoreUnavailable.
    """
    with kept_file(image_file) as file, write_transaction(), removed_on_error(file):
        image_id = insert_analysis(analysis, idempotent, file)
    if image_id % MAINTENANCE_EVERY == 0:
        _maintain(add_new_images, delete_expired)
    if file:
        _maintain(remove_due)
    return replace(analysis, id=image_id)


def clean_up() -> None:
    """Remove image files and idempotency records that ended processes did not remove.

    Each worker calls this at its start.
    """
    _maintain(remove_due, delete_expired)


def _maintain(*steps: Callable[[], object]) -> None:
    """Run maintenance steps. A failure is only logged, because the caller's work is committed.

    A later call tries the steps again.
    """
    try:
        for step in steps:
            step()
    except Exception as error:  # the message of a driver's error may contain values
        log.warning(
            "maintenance of the database failed and is tried again later: %s",
            error if isinstance(error, EmotionError) else type(error).__name__,
        )


def erase(image_id: int) -> None:
    """Erase an image with its faces, persons, records and file.

    Raises NotFound. Raises StoreUnavailable if the file cannot be removed: then the image is
    erased, and another call tries to remove the file again.
    """
    with write_transaction():
        subtract_images([ImageRow.id == image_id])
        erased = _delete([ImageRow.id == image_id])
        if not erased and not is_being_erased(image_id):
            raise NotFound(f"no image {image_id}")
    log_erased(erased)
    wal_cleaner().clean()
    remove_erased(image_id)
    _maintain(remove_due)


def erase_matching(filters: Filters) -> int:
    """Erase all images that match in one transaction, and return their number.

    Raises StoreUnavailable if a file cannot be removed, including files of earlier erasures.
    """
    with write_transaction():
        lock_watermark()  # before the conditions, so that all statements see the same images
        conditions = matching_images(filters)
        subtract_images(conditions)
        erased = _delete(conditions)
    log_erased(erased)
    wal_cleaner().clean()
    remove_erased()
    _maintain(remove_due)
    return len(erased)


def _delete(conditions: Sequence[ColumnElement[bool]]) -> list[int]:
    """Delete images and schedule the removal of their files. Return the ids in ascending order.

    The foreign keys delete the rows of faces, persons, scores and idempotency records.
    """
    query = delete(ImageRow).where(*conditions).returning(ImageRow.id, ImageRow.picture_file)
    rows = db.session.execute(query, execution_options={"synchronize_session": False}).all()
    schedule_removals({row.picture_file: row.id for row in rows if row.picture_file})
    return sorted(row.id for row in rows)


# ---------------------------------------------------------------- read


def find(image_id: int) -> Analysis | None:
    """Return the analysis of an image, or None if the image does not exist."""
    with read_transaction():
        return images_by_id([image_id]).get(image_id)


def get(image_id: int) -> Analysis:
    """Return the analysis of an image. Raises NotFound."""
    if (found := find(image_id)) is None:
        raise NotFound(f"no image {image_id}")
    return found


def image_file(image_id: int) -> bytes:
    """Return the file of an image as the client sent it.

    Raises NotFound if the image does not exist or its file is not kept, and StoreUnavailable if the
    file cannot be read.
    """
    with read_transaction():
        row = db.session.execute(
            select(ImageRow.picture_file, ImageRow.picture_sha256).where(ImageRow.id == image_id)
        ).one_or_none()
    if row is None:
        raise NotFound(f"no image {image_id}")
    if row.picture_file is None:
        raise NotFound(f"the file of image {image_id} is not kept")
    try:
        return image_store().read(row.picture_file, row.picture_sha256)
    except EmotionError as error:
        log.error("cannot serve the file of image %d: %s", image_id, error)
        raise


def faces(image_id: int) -> list[Face]:
    """Return the faces of an image, in their order. Raises NotFound."""
    with read_transaction():
        if db.session.scalar(select(ImageRow.id).where(ImageRow.id == image_id)) is None:
            raise NotFound(f"no image {image_id}")
        return faces_by_image([image_id])[image_id]


def page_of_images(filters: Filters, *, size: int, cursor: str | None) -> Page[Analysis]:
    """Return a page of the images that match, newest first. Raises InvalidCursor."""
    query = image_keys(cursor)
    with read_transaction():
        keys = read_page(query.where(*matching_images(filters)), size)
        images = images_by_id([key.id for key in keys.items])
    return Page([images[key.id] for key in keys.items], keys.next_cursor)


def page_of_faces(filters: Filters, *, size: int, cursor: str | None) -> Page[FoundFace]:
    """Return a page of the faces that match, newest image first. Raises InvalidCursor."""
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
    """Yield every face that matches, newest image first. See `iterate_pages`."""
    return iterate_pages(lambda cursor: page_of_faces(filters, size=batch, cursor=cursor))


def emotion_names() -> list[str]:
    """Return the names of all stored emotions, sorted."""
    with read_transaction():
        return distinct_names(EmotionRow.emotion)


def revision_problem() -> str | None:
    """Return None if the database is at the head revision, or a message for the operator.

    Raises StoreUnavailable if the database is unavailable.
    """
    # The numbers of the migration files, because Alembic takes ten megabytes.
    versions: Path = current_app.extensions["migrations"] / "versions"
    head = max(path.name.partition("_")[0] for path in versions.glob("[0-9]*_*.py"))
    current = None
    with read_transaction():
        if inspect(db.session.connection()).has_table(ALEMBIC_VERSION.name):
            current = db.session.scalar(select(ALEMBIC_VERSION.c.version_num))
    if current == head:
        return None
    return f"the database is at revision {current}, not {head}: run `flask db upgrade`"
