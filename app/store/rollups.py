"""Sums by the hour, so that a summary of a million images reads some thousand rows.

Saving an image does not touch them: from time to time what was saved since is added, many images at
once and in the order of their ids, up to a mark. What is above the mark is summed when it is asked
for. An erasure subtracts what it takes from below the mark. Both hold the row of the mark
meanwhile, so nothing is counted twice or subtracted twice.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    SQLColumnExpression,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from app.store.matching import without_index
from app.store.tables import (
    EmotionRow,
    FaceRow,
    HourEmotionRow,
    HourRow,
    ImageRow,
    WatermarkRow,
    db,
)
from app.store.transactions import write_transaction

MOST_AT_ONCE = 10_000
LOCK_SECONDS = 0.1  # to wait for locks when adding; a later request tries again

_INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def mark() -> int:
    """The id up to which images are in the sums. To be called within a transaction."""
    return db.session.scalars(select(WatermarkRow.image_id)).one()


def lock_watermark() -> int:
    """The same, and nobody else may add or subtract until the transaction ends."""
    held = (
        update(WatermarkRow).values(image_id=WatermarkRow.image_id).returning(WatermarkRow.image_id)
    )
    return db.session.scalars(held).one()


def add_saved() -> int:
    """Add images above the mark, in a transaction of its own, and say how many ids that were.

    Raises StoreUnavailable where somebody holds the tables or the mark for too long.
    """
    settled = _settled()
    with write_transaction(lock_seconds=LOCK_SECONDS):
        low = lock_watermark()
        above = select(ImageRow.id).where(ImageRow.id > low, ImageRow.id <= settled)
        batch = above.order_by(ImageRow.id).limit(MOST_AT_ONCE).subquery()
        if (high := db.session.scalar(select(func.max(batch.c.id)))) is None:
            return 0
        _count([ImageRow.id > low, ImageRow.id <= high], sign=1)
        db.session.execute(update(WatermarkRow).values(image_id=high))
    return int(high - low)


def _settled() -> int:
    """An id below which every image is committed or never will be."""
    with write_transaction(lock_seconds=LOCK_SECONDS):
        if db.engine.dialect.name == "postgresql":
            # An id is given out before its image is committed. This waits for all who are between
            # the two, and lets nobody in; SQLite has one writer at a time anyway.
            db.session.execute(text("LOCK TABLE images IN SHARE MODE"))
        return db.session.scalar(select(func.max(ImageRow.id))) or 0


def subtract(conditions: Sequence[ColumnElement[bool]]) -> None:
    """Take out of the sums what of the matching images is in them; they are erased next, in the
    same transaction."""
    # The conditions find the images, however many are below the mark.
    _count([without_index(ImageRow.id) <= lock_watermark(), *conditions], sign=-1)
    db.session.execute(delete(HourRow).where(HourRow.images <= 0))
    db.session.execute(delete(HourEmotionRow).where(HourEmotionRow.faces <= 0))


def _count(conditions: Sequence[ColumnElement[bool]], *, sign: int) -> None:
    keys = [_start_of_hour(ImageRow.created_at).label("hour"), without_index(ImageRow.model_name)]
    images = (
        select(*keys, sign * func.count(), sign * func.sum(ImageRow.face_count))
        .where(*conditions)
        .group_by(*keys)
    )
    _add_up(HourRow, ("hour", "model_name"), ("images", "faces"), images)
    emotions = emotion_sums(keys, conditions, sign=sign)
    key = ("hour", "model_name", "emotion")
    _add_up(HourEmotionRow, key, ("faces", "dominant", "probability"), emotions)


def emotion_sums(
    keys: Sequence[SQLColumnExpression[Any]],
    conditions: Sequence[ColumnElement[bool]],
    *,
    sign: int = 1,
) -> Select[Any]:
    """For each of `keys` and each emotion: how many faces know it, of how many it is dominant, and
    the sum of its probabilities. From the images that match to their faces to their emotions, and
    never the other way round, through everything that is stored."""
    of_emotion = EmotionRow.emotion == FaceRow.dominant
    return (
        select(
            *keys,
            EmotionRow.emotion,
            sign * func.count(),
            sign * func.count().filter(of_emotion),
            sign * func.sum(EmotionRow.probability),
        )
        .select_from(ImageRow)
        .join(FaceRow, FaceRow.image_id == without_index(ImageRow.id))
        .join(EmotionRow, EmotionRow.face_id == without_index(FaceRow.id))
        .where(*conditions)
        .group_by(*keys, EmotionRow.emotion)
    )


def _add_up(table: Any, key: tuple[str, ...], sums: tuple[str, ...], found: Any) -> None:
    statement = _INSERT[db.engine.dialect.name](table).from_select([*key, *sums], found)
    together = {name: getattr(table, name) + statement.excluded[name] for name in sums}
    db.session.execute(statement.on_conflict_do_update(index_elements=key, set_=together))


def _start_of_hour(moment: SQLColumnExpression[Any]) -> SQLColumnExpression[Any]:
    """As the database keeps times."""
    if db.engine.dialect.name == "sqlite":
        return func.strftime("%Y-%m-%d %H:00:00.000000", moment)
    return func.date_trunc("hour", moment)


def whole_hours(
    since: datetime | None, until: datetime | None
) -> tuple[datetime | None, datetime | None]:
    """The first and the end of the last whole hour between two times."""
    first, last = (None if moment is None else _hour(moment) for moment in (since, until))
    if first is not None and since is not None and first < since:
        never = datetime.max.replace(tzinfo=UTC)
        first = first + timedelta(hours=1) if first < _hour(never) else never
    return first, last


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
