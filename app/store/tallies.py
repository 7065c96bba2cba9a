"""Sums by the hour, so that a summary of a million images reads some thousand rows.

Saving pays nothing for them: images are added some time after they were saved, many at once and in
the order of their ids, up to a mark. What is above the mark is summed when it is asked for. An
erasure subtracts what it takes from below the mark. Both hold the row of the mark meanwhile, so
nothing is counted twice or subtracted twice. To be called within a transaction.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.store.tables import EmotionRow, FaceRow, HourEmotionRow, HourRow, ImageRow, MarkRow, db

# An id is given out before its image is committed: when an image is this old, all ids below its own
# are committed or never will be.
SETTLED = timedelta(minutes=2)
MOST_AT_ONCE = 10_000

_INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def mark() -> int:
    """The id up to which images are in the sums."""
    return db.session.scalar(select(MarkRow.image_id)) or 0


def hold_mark() -> int:
    """The same, and nobody else may add or subtract until the transaction ends."""
    held = update(MarkRow).values(image_id=MarkRow.image_id).returning(MarkRow.image_id)
    return db.session.scalar(held) or 0


def add_settled(now: datetime) -> int:
    """Add the images above the mark that are settled, and say how many ids that were."""
    low = hold_mark()
    above = select(ImageRow.id, ImageRow.created_at).where(ImageRow.id > low)
    batch = above.order_by(ImageRow.id).limit(MOST_AT_ONCE).subquery()
    first_young = select(func.min(batch.c.id)).where(batch.c.created_at >= now - SETTLED)
    high = db.session.scalar(first_young)
    high = db.session.scalar(select(func.max(batch.c.id))) if high is None else high - 1
    if high is None or high <= low:
        return 0
    _count([ImageRow.id > low, ImageRow.id <= high], sign=1)
    db.session.execute(update(MarkRow).values(image_id=high))
    return int(high - low)


def subtract(conditions: Sequence[ColumnElement[bool]]) -> None:
    """Take out of the sums what of the matching images is in them; they are erased next."""
    _count([ImageRow.id <= hold_mark(), *conditions], sign=-1)
    db.session.execute(delete(HourRow).where(HourRow.images <= 0))
    db.session.execute(delete(HourEmotionRow).where(HourEmotionRow.faces <= 0))


def _count(conditions: Sequence[ColumnElement[bool]], *, sign: int) -> None:
    hour = hour_of(ImageRow.created_at)
    images = (
        select(hour, ImageRow.model_name, sign * func.count(), sign * func.sum(ImageRow.face_count))
        .where(*conditions)
        .group_by(hour, ImageRow.model_name)
    )
    _add_up(HourRow, ("hour", "model_name"), ("images", "faces"), images)
    of_emotion = EmotionRow.emotion == FaceRow.dominant
    emotions = (
        select(
            hour,
            ImageRow.model_name,
            EmotionRow.emotion,
            sign * func.count(),
            sign * func.count().filter(of_emotion),
            sign * func.sum(EmotionRow.probability),
        )
        .select_from(FaceRow)
        .join(FaceRow.image)
        .join(FaceRow.emotions)
        .where(*conditions)
        .group_by(hour, ImageRow.model_name, EmotionRow.emotion)
    )
    key = ("hour", "model_name", "emotion")
    _add_up(HourEmotionRow, key, ("faces", "dominant", "probability"), emotions)


def _add_up(table: Any, key: tuple[str, ...], sums: tuple[str, ...], found: Any) -> None:
    statement = _INSERT[db.engine.dialect.name](table).from_select([*key, *sums], found)
    together = {name: getattr(table, name) + statement.excluded[name] for name in sums}
    db.session.execute(statement.on_conflict_do_update(index_elements=key, set_=together))


def hour_of(moment: SQLColumnExpression[Any]) -> SQLColumnExpression[Any]:
    """The start of the hour, as the database keeps times."""
    if db.engine.dialect.name == "sqlite":
        return func.strftime("%Y-%m-%d %H:00:00.000000", moment)
    return func.date_trunc("hour", moment)


def whole_hours(
    since: datetime | None, until: datetime | None
) -> tuple[datetime | None, datetime | None]:
    """The first and the end of the last whole hour between two times."""
    first, last = (_hour(moment) for moment in (since, until))
    if first is not None and since is not None and first < since:
        first += timedelta(hours=1)
    return first, last


def _hour(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
