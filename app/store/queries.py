"""Every query of the service. A function is one transaction, but for `all_faces`, which may take
long and reads page by page.

Analyses come back whole; applying a threshold to them is the reader's business.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from flask import current_app
from sqlalchemy import (
    ColumnElement,
    column,
    delete,
    func,
    insert,
    inspect,
    select,
    table,
    tuple_,
)
from sqlalchemy.orm import selectinload

from app.errors import NotFound
from app.store.connections import renew_deadline
from app.store.cursor import decode_cursor, encode_cursor
from app.store.database import wal_cleaner
from app.store.faces import faces_of
from app.store.matching import face_conditions, image_conditions, matching_images
from app.store.pictures import pictures
from app.store.records import Filters, FoundFace, Page
from app.store.retries import Retry, forget_old, remember
from app.store.tables import EmotionRow, FaceRow, ImageRow, db
from app.store.tallies import add_saved, hold_mark, subtract
from app.store.transactions import read_transaction, write_transaction
from app.vision.types import Analysis, Box, Face, ModelRef

log = logging.getLogger(__name__)

ALEMBICS = table("alembic_version", column("version_num"))
RUNS_A_LINE = 100
SUMS_EVERY = 256  # images: then they are added to the sums by the hour, and old records forgotten
_WHOLE_IMAGE = selectinload(ImageRow.faces).selectinload(FaceRow.emotions)


# ---------------------------------------------------------------- write


def save(analysis: Analysis, retry: Retry | None = None, picture: bytes | None = None) -> Analysis:
    """Commit an analysis, whole or not at all, and return it with its id. `picture`, its file, is
    kept beside it where pictures are. Raises AlreadyKept where `retry` is of a request whose
    analysis is there already."""
    picture_file = None
    if picture is not None and pictures().keeps:
        picture_file = pictures().keep(picture)
    with write_transaction():
        try:
            image_id = _insert(analysis, retry, picture_file)
        except BaseException:  # not of the commit itself, which may have been done all the same
            if picture_file:
                pictures().erase([picture_file])
            raise
    if image_id % SUMS_EVERY == 0:
        _tidy_up()
    return replace(analysis, id=image_id)


def _insert(analysis: Analysis, retry: Retry | None, picture_file: str | None) -> int:
    # Past the ORM, whose inserts cost half as much again.
    connection = db.session.connection()
    image_id: int = connection.execute(
        insert(ImageRow).returning(ImageRow.id),
        {
            "created_at": analysis.created_at,
            "file_name": analysis.file_name,
            "threshold": analysis.threshold,
            "width": analysis.width,
            "height": analysis.height,
            "face_count": len(analysis.faces),
            "model_name": analysis.model.name,
            "model_version": analysis.model.version,
            "model_sha256": analysis.model.sha256,
            "detector": analysis.detector,
            "dropped": dict(analysis.dropped),
            "timings_ms": dict(analysis.timings_ms),
            "picture_file": picture_file,
        },
    ).scalar_one()
    if retry:
        remember(connection, retry, image_id)
    if analysis.faces:
        face_ids = connection.scalars(
            insert(FaceRow).returning(FaceRow.id, sort_by_parameter_order=True),
            [
                {
                    "image_id": image_id,
                    "number": number,
                    "x1": face.box.x1,
                    "y1": face.box.y1,
                    "x2": face.box.x2,
                    "y2": face.box.y2,
                    "detection_score": face.detection_score,
                    "dominant": face.dominant,
                    "dominant_probability": face.probabilities[face.dominant],
                }
                for number, face in enumerate(analysis.faces, start=1)
            ],
        ).all()
        connection.execute(
            insert(EmotionRow),
            [
                {
                    "face_id": face_id,
                    "position": position,
                    "emotion": emotion,
                    "probability": probability,
                }
                for face_id, face in zip(face_ids, analysis.faces, strict=True)
                for position, (emotion, probability) in enumerate(face.probabilities.items())
            ],
        )
    return image_id


def _tidy_up() -> None:
    try:
        add_saved()
        forget_old()
    except Exception as error:  # the image is kept, so the answer is 201; another one tries again
        log.warning("the sums by the hour or old records were not seen to: %s", error)


def erase(image_id: int) -> None:
    """Erase an image and all that belongs to it. Raises NotFound."""
    with write_transaction():
        subtract([ImageRow.id == image_id])
        if not _delete([ImageRow.id == image_id]):
            raise NotFound(f"no image {image_id}")
    wal_cleaner().clean()


def erase_matching(filters: Filters) -> int:
    """Erase all images that match, all or none of them, and say how many there were."""
    with write_transaction():
        hold_mark()  # first, so that all that follows sees what it will erase
        conditions = matching_images(filters)
        subtract(conditions)
        erased = _delete(conditions)
    wal_cleaner().clean()
    return erased


def _delete(conditions: Sequence[ColumnElement[bool]]) -> int:
    """Rows of images, all that belongs to them by the database's own rules, and kept pictures.

    The files go before the transaction ends: whoever is told that a picture is erased can rely on
    it. Should the end fail, an image is there without its picture, which nobody wanted any more.
    """
    query = delete(ImageRow).where(*conditions).returning(ImageRow.id, ImageRow.picture_file)
    rows = db.session.execute(query, execution_options={"synchronize_session": False}).all()
    pictures().erase(row.picture_file for row in rows if row.picture_file)
    for text in _ranges(sorted(row.id for row in rows)):
        log.info("images %s are erased", text)
    return len(rows)


def _ranges(ids: Sequence[int]) -> Iterator[str]:
    """Ascending `ids` as runs, "3–7, 9", so many a text that it is a line of the log."""
    runs: list[list[int]] = []
    for id_ in ids:
        if runs and runs[-1][1] == id_ - 1:
            runs[-1][1] = id_
        else:
            runs.append([id_, id_])
    for first in range(0, len(runs), RUNS_A_LINE):
        yield ", ".join(
            f"{low}" if low == high else f"{low}–{high}"
            for low, high in runs[first : first + RUNS_A_LINE]
        )


def sweep_pictures() -> int:
    """Remove kept files that belong to no image, which an interrupted request may have left, and
    say how many."""

    def known(names: list[str]) -> set[str]:
        with read_transaction():
            query = select(ImageRow.picture_file).where(ImageRow.picture_file.in_(names))
            return set(db.session.scalars(query))

    return pictures().sweep(known)


# ---------------------------------------------------------------- read


def get(image_id: int) -> Analysis:
    """Raises NotFound."""
    with read_transaction():
        row = db.session.get(ImageRow, image_id, options=[_WHOLE_IMAGE])
    if row is None:
        raise NotFound(f"no image {image_id}")
    return _analysis(row)


def picture(image_id: int) -> bytes:
    """The file of an image as it came. Raises NotFound where there is no such image or its picture
    is not kept."""
    with read_transaction():
        row = db.session.execute(
            select(ImageRow.picture_file).where(ImageRow.id == image_id)
        ).one_or_none()
    if row is None:
        raise NotFound(f"no image {image_id}")
    if row.picture_file is None:
        raise NotFound(f"the picture of image {image_id} is not kept")
    return pictures().read(row.picture_file)


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
    """Every face that matches, read page by page: memory stays flat however many there are."""
    cursor = None
    while True:
        renew_deadline()  # of each page: the whole may take longer than a request
        page = page_of_faces(filters, size=batch, cursor=cursor)
        yield from page.items
        db.session.expunge_all()
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
    )


def _face(row: FaceRow) -> Face:
    return Face(
        box=Box(row.x1, row.y1, row.x2, row.y2),
        probabilities={emotion.emotion: emotion.probability for emotion in row.emotions},
        detection_score=row.detection_score,
    )
