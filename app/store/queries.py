"""Every query of the service. A function is one transaction, but for `all_faces`, which may take
long and reads page by page.

Analyses come back whole; applying a threshold to them is the reader's business.
"""

import operator
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app
from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Select,
    SQLColumnExpression,
    delete,
    func,
    insert,
    select,
    tuple_,
)
from sqlalchemy.orm import selectinload

from app.errors import NotFound
from app.store.cursor import decode_cursor, encode_cursor
from app.store.records import Filters, FoundFace, Page, Span
from app.store.tables import EmotionRow, FaceRow, ImageRow, db
from app.vision.types import Analysis, Box, Face, ModelRef

_WHOLE_IMAGE = selectinload(ImageRow.faces).selectinload(FaceRow.emotions)


# ---------------------------------------------------------------- write


def save(analysis: Analysis) -> Analysis:
    """Commit an analysis, whole or not at all, and return it with its id."""
    with _transaction():
        image_id = db.session.execute(
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
            },
        ).scalar_one()
        if analysis.faces:
            face_ids = db.session.scalars(
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
                    }
                    for number, face in enumerate(analysis.faces, start=1)
                ],
            ).all()
            db.session.execute(
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
    return replace(analysis, id=image_id)


def erase(image_id: int) -> None:
    """Erase an image and all that belongs to it. Raises NotFound."""
    with _transaction():
        query = delete(ImageRow).where(ImageRow.id == image_id).returning(ImageRow.id)
        erased = db.session.scalars(query).all()
    if not erased:
        raise NotFound(f"no image {image_id}")


def erase_matching(filters: Filters) -> int:
    """Erase all images that match, all or none of them, and say how many there were."""
    with _transaction():
        erased = db.session.execute(delete(ImageRow).where(*_matching_images(filters)))
    return cast(CursorResult[Any], erased).rowcount


# ---------------------------------------------------------------- read


def get(image_id: int) -> Analysis:
    """Raises NotFound."""
    with _snapshot():
        row = db.session.get(ImageRow, image_id, options=[_WHOLE_IMAGE])
    if row is None:
        raise NotFound(f"no image {image_id}")
    return _analysis(row)


def page_of_images(filters: Filters, *, size: int, cursor: str | None) -> Page[Analysis]:
    """Images that match, newest first. Raises InvalidCursor."""
    query = select(ImageRow).where(*_matching_images(filters))
    key = (ImageRow.created_at, ImageRow.id)
    if cursor is not None:
        query = query.where(tuple_(*key) < tuple_(*decode_cursor(cursor, len(key))))
    query = query.options(_WHOLE_IMAGE).order_by(*(column.desc() for column in key))
    with _snapshot():
        rows = db.session.scalars(query.limit(size + 1)).all()
    following = None
    if len(rows) > size:
        following = encode_cursor(rows[size - 1].created_at, rows[size - 1].id)
    return Page([_analysis(row) for row in rows[:size]], following)


def page_of_faces(filters: Filters, *, size: int, cursor: str | None) -> Page[FoundFace]:
    """Faces that match, those of the newest image first. Raises InvalidCursor."""
    query = _select_faces(filters)
    if cursor is not None:
        created_at, image_id, number = decode_cursor(cursor, 3)
        position, reached = tuple_(ImageRow.created_at, ImageRow.id), tuple_(created_at, image_id)
        query = query.where(
            position <= reached,  # says nothing new, but is a range of the index
            # Images descend and the faces within one ascend, hence the two cases.
            (position < reached) | ((ImageRow.id == image_id) & (FaceRow.number > number)),
        )
    with _snapshot():
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
    with _snapshot():
        while name := db.session.scalar(
            query.where(EmotionRow.emotion > names[-1]) if names else query
        ):
            names.append(name)
    return names


def summarise(filters: Filters, *, by: str) -> list[Span]:
    """Counts and mean probabilities by "hour", "day" (UTC) or "model", in ascending order.

    With a filter on faces, images and faces that match it are counted.
    """
    span = _span(by)
    faces = _face_conditions(filters)
    images = _image_conditions(filters)
    spans: dict[str, Span] = {}
    if faces:
        counted = select(span, func.count(ImageRow.id.distinct()))
        counted = counted.select_from(FaceRow).join(FaceRow.image)
    else:
        counted = select(span, func.count())
    with _snapshot():
        for name, count in db.session.execute(counted.where(*images, *faces).group_by(span)):
            spans[name] = Span(name, count)
        for name, emotion, count in db.session.execute(
            select(span, FaceRow.dominant, func.count())
            .select_from(FaceRow)
            .join(FaceRow.image)
            .where(*images, *faces)
            .group_by(span, FaceRow.dominant)
            .order_by(FaceRow.dominant)
        ):
            spans[name].faces += count
            spans[name].dominant[emotion] = count
        for name, emotion, mean in db.session.execute(
            select(span, EmotionRow.emotion, func.avg(EmotionRow.probability))
            .select_from(FaceRow)
            .join(FaceRow.image)
            .join(FaceRow.emotions)
            .where(*images, *faces)
            .group_by(span, EmotionRow.emotion)
            .order_by(EmotionRow.emotion)
        ):
            spans[name].mean_probability[emotion] = mean
    return [spans[name] for name in sorted(spans)]


# How RFC 3339 writes the start of a span, in the words of each database.
_SPAN_FORMATS = {
    ("hour", "sqlite"): "%Y-%m-%dT%H:00:00Z",
    ("hour", "postgresql"): 'YYYY-MM-DD"T"HH24:00:00"Z"',
    ("day", "sqlite"): "%Y-%m-%d",
    ("day", "postgresql"): "YYYY-MM-DD",
}


def _span(by: str) -> SQLColumnExpression[str]:
    if by == "model":
        return ImageRow.model_name
    dialect = db.engine.dialect.name
    form = _SPAN_FORMATS[by, dialect]
    if dialect == "sqlite":
        return func.strftime(form, ImageRow.created_at)
    return func.to_char(ImageRow.created_at, form)


def revision_problem() -> str | None:
    """None when the database answers and is at the head revision; otherwise what is wrong.

    Raises StoreUnavailable when it does not answer.
    """
    config = current_app.extensions["migrate"].migrate.get_config()
    head = ScriptDirectory.from_config(config).get_current_head()
    with db.engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current == head:
        return None
    return f"the database is at revision {current}, not {head}: run `flask db upgrade`"


# ---------------------------------------------------------------- inside


@contextmanager
def _snapshot() -> Iterator[None]:
    """One state of the database for all queries of the block: an image that is erased meanwhile
    is seen whole or not at all."""
    db.session.rollback()
    if db.engine.dialect.name == "postgresql":  # SQLite's transactions are snapshots anyway
        db.session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    yield


@contextmanager
def _transaction() -> Iterator[None]:
    """Commit what the block did; whatever it raises, keep nothing of it."""
    # Anew: SQLite refuses to write in a transaction that has read what others changed since.
    db.session.rollback()
    try:
        yield
        db.session.commit()
    except BaseException:
        db.session.rollback()
        raise


def _image_conditions(filters: Filters) -> list[ColumnElement[bool]]:
    asked = (
        (ImageRow.file_name, operator.eq, filters.file_name),
        (ImageRow.model_name, operator.eq, filters.model),
        (ImageRow.created_at, operator.ge, filters.since),
        (ImageRow.created_at, operator.lt, filters.until),
        (ImageRow.face_count, operator.ge, filters.min_faces),
    )
    return [compare(column, value) for column, compare, value in asked if value is not None]


def _matching_images(filters: Filters) -> list[ColumnElement[bool]]:
    """Conditions on images, one of whose faces must match what is asked of faces."""
    conditions = _image_conditions(filters)
    if of_faces := _face_conditions(filters):
        face = select(FaceRow.id).where(FaceRow.image_id == ImageRow.id, *of_faces)
        conditions.append(face.exists())
    return conditions


def _face_conditions(filters: Filters) -> list[ColumnElement[bool]]:
    if filters.min_probability is None:
        return [] if filters.emotion is None else [FaceRow.dominant == filters.emotion]
    shown = select(EmotionRow.face_id).where(
        EmotionRow.face_id == FaceRow.id, EmotionRow.probability >= filters.min_probability
    )
    if filters.emotion is not None:
        shown = shown.where(EmotionRow.emotion == filters.emotion)
    return [shown.exists()]


def _select_faces(filters: Filters) -> Select[FaceRow]:
    return (
        select(FaceRow)
        .join(FaceRow.image)
        .where(*_image_conditions(filters), *_face_conditions(filters))
        .options(selectinload(FaceRow.image), selectinload(FaceRow.emotions))
        .order_by(ImageRow.created_at.desc(), ImageRow.id.desc(), FaceRow.number)
    )


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
