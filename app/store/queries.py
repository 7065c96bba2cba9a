"""Every query of the service. A function is one transaction, but for `all_faces`, which may take
long and reads page by page.

Analyses come back whole; applying a threshold to them is the reader's business.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from flask import current_app
from sqlalchemy import (
    ColumnElement,
    column,
    delete,
    func,
    inspect,
    select,
    table,
    tuple_,
)
from sqlalchemy.orm import selectinload

from app.errors import EmotionError, NotFound
from app.store.connections import renew_deadline
from app.store.cursor import decode_cursor, encode_cursor
from app.store.database import wal_cleaner
from app.store.erasure_log import log_erased
from app.store.faces import faces_of
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
from app.store.records import Filters, FoundFace, Page
from app.store.rollups import add_saved, lock_watermark, subtract
from app.store.tables import EmotionRow, FaceRow, ImageRow, db
from app.store.transactions import read_transaction, write_transaction
from app.vision.types import Analysis, Box, Face, ModelRef, Scores

log = logging.getLogger(__name__)

ALEMBICS = table("alembic_version", column("version_num"))
SUMS_EVERY = 256  # images: then they are added to the sums by the hour, and old records forgotten
_WHOLE_IMAGE = selectinload(ImageRow.faces).selectinload(FaceRow.emotions)


# ---------------------------------------------------------------- write


def save(
    analysis: Analysis, retry: IdempotentRequest | None = None, picture: bytes | None = None
) -> Analysis:
    """Commit an analysis, whole or not at all, and return it with its id. `picture`, the image's
    file, is kept beside it where the operator asked for that.

    Raises AlreadyStored when the analysis of the same request is stored already, KeyReused when the
    key of `retry` was used for another request, and StoreUnavailable.
    """
    with kept_file(picture) as file, write_transaction(), removed_on_error(file):
        image_id = insert_analysis(analysis, retry, file)
    if image_id % SUMS_EVERY == 0:
        _tidy_up(add_saved, forget_old)
    if file:
        _tidy_up(remove_due)
    return replace(analysis, id=image_id)


def clean_up() -> None:
    """Finish the work of processes that have ended, if the database answers. For the start of a
    worker."""
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
        lock_watermark()  # first, so that all that follows sees what it will erase
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
        row = db.session.get(ImageRow, image_id, options=[_WHOLE_IMAGE])
    return None if row is None else _analysis(row)


def get(image_id: int) -> Analysis:
    """Raises NotFound."""
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
    """An image's faces, in their order. Raises NotFound."""
    with read_transaction():
        for _, its in faces_of([image_id]):
            return its
    raise NotFound(f"no image {image_id}")


def page_of_images(filters: Filters, *, size: int, cursor: str | None) -> Page[Analysis]:
    """Images that match, newest first. Raises InvalidCursor."""
    key = (ImageRow.created_at, ImageRow.id)
    query = select(ImageRow).order_by(*(column.desc() for column in key))
    if cursor is not None:
        query = query.where(tuple_(*key) < tuple_(*decode_cursor(cursor, len(key))))
    with read_transaction():
        query = query.where(*matching_images(filters)).options(_WHOLE_IMAGE)
        rows = db.session.scalars(query.limit(size + 1)).all()
    following = None
    if len(rows) > size:
        following = encode_cursor(rows[size - 1].created_at, rows[size - 1].id)
    return Page([_analysis(row) for row in rows[:size]], following)


def page_of_faces(filters: Filters, *, size: int, cursor: str | None) -> Page[FoundFace]:
    """Faces that match, those of the newest image first. Raises InvalidCursor."""
    query = (
        select(FaceRow)
        .join(FaceRow.image)
        .options(selectinload(FaceRow.image), selectinload(FaceRow.emotions))
        .order_by(ImageRow.created_at.desc(), ImageRow.id.desc(), FaceRow.number)
    )
    if cursor is not None:
        created_at, image_id, number = decode_cursor(cursor, 3)
        position, reached = tuple_(ImageRow.created_at, ImageRow.id), tuple_(created_at, image_id)
        query = query.where(
            position <= reached,  # says nothing new, but is a range of the index
            # Images descend and the faces within one ascend, hence the two cases.
            (position < reached) | ((ImageRow.id == image_id) & (FaceRow.number > number)),
        )
    with read_transaction():
        query = query.where(*image_conditions(filters), *face_conditions(filters))
        rows = db.session.scalars(query.limit(size + 1)).all()
    following = None
    if len(rows) > size:
        last = rows[size - 1]
        following = encode_cursor(last.image.created_at, last.image_id, last.number)
    return Page([_found(row) for row in rows[:size]], following)


def all_faces(filters: Filters, *, batch: int = 200) -> Iterator[FoundFace]:
    """Every face that matches, those of the newest image first, in constant memory.

    Each page is a transaction of its own that ends before its faces are yielded, so a slow reader
    does not delay erasures or maintenance. Faces that are stored during the whole iteration appear
    exactly once; faces that are saved or erased meanwhile may be missing.
    """
    cursor = None
    while True:
        renew_deadline()  # for each page: all pages may take longer than a request
        page = page_of_faces(filters, size=batch, cursor=cursor)
        yield from page.items
        if (cursor := page.next_cursor) is None:
            return


def emotion_names() -> list[str]:
    """The names of every emotion that is stored, sorted. Seeks along the index from name to
    name, so the cost is that of the few names and not of the many rows."""
    names: list[str] = []
    query = select(func.min(EmotionRow.emotion))
    with read_transaction():
        while name := db.session.scalar(
            query.where(EmotionRow.emotion > names[-1]) if names else query
        ):
            names.append(name)
    return names


def revision_problem() -> str | None:
    """None when the database answers and is at the head revision; otherwise what is wrong.

    Raises StoreUnavailable when it does not answer.
    """
    # Past Alembic: see app.store.migrate. Its files are one numbered line.
    versions: Path = current_app.extensions["migrations"] / "versions"
    head = max(path.name.partition("_")[0] for path in versions.glob("[0-9]*_*.py"))
    current = None
    with read_transaction():
        if inspect(db.session.connection()).has_table(ALEMBICS.name):
            current = db.session.scalar(select(ALEMBICS.c.version_num))
    if current == head:
        return None
    return f"the database is at revision {current}, not {head}: run `flask db upgrade`"


# ---------------------------------------------------------------- inside


def _analysis(row: ImageRow) -> Analysis:
    return _image(row, tuple(_face(face) for face in row.faces))


def _found(row: FaceRow) -> FoundFace:
    return FoundFace(_image(row.image, (_face(row),)), row.number)


def _image(row: ImageRow, faces: tuple[Face, ...]) -> Analysis:
    return Analysis(
        id=row.id,
        created_at=row.created_at,
        file_name=row.file_name,
        threshold=row.threshold,
        width=row.width,
        height=row.height,
        faces=faces,
        model=ModelRef(row.model_name, row.model_version, row.model_sha256),
        detector=row.detector,
        dropped=row.dropped,
        timings_ms=row.timings_ms,
        rotation=row.rotation,
    )


def _face(row: FaceRow) -> Face:
    return Face(
        box=Box(row.x1, row.y1, row.x2, row.y2),
        emotions=Scores({each.emotion: each.probability for each in row.emotions}),
        detection_score=row.detection_score,
    )
