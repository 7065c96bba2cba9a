"""Hourly rollups that keep summaries fast on large stores.

Saving an image does not update the rollups. A background step adds new images in batches,
in id order, and advances the watermark (the highest image id that the rollups include).
A summary reads the rollups up to the watermark and aggregates newer images directly.
Deleting an image at or below the watermark subtracts it in the same transaction.
Both operations lock the watermark row, so no image is counted or subtracted twice.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    SQLColumnExpression,
    case,
    delete,
    func,
    select,
    text,
    update,
)

from app.store.dialect import start_of_hour, upsert
from app.store.planning import without_index
from app.store.rollup_tables import HourCategoryRow, HourEmotionRow, HourRow, WatermarkRow
from app.store.tables import CategoryRow, EmotionRow, FaceRow, ImageRow, PersonRow, db
from app.store.transactions import write_transaction

BATCH_IMAGES = 10_000
LOCK_SECONDS = 0.1  # maximum wait for locks in `add_new_images`; a later call tries again
DIMENSIONS = ("valence", "arousal", "dominance")
EMOTION_SUMS = ("faces", "dominant", "probability", "exclusive_probability")

Conditions = Sequence[ColumnElement[bool]]
Columns = Sequence[SQLColumnExpression[Any]]


def watermark() -> int:
    """Return the watermark. Call it within a transaction."""
    return db.session.scalars(select(WatermarkRow.image_id)).one()


def lock_watermark() -> int:
    """Lock the watermark until the transaction ends, and return it."""
    # An UPDATE without a change locks the row in both databases.
    locked = (
        update(WatermarkRow).values(image_id=WatermarkRow.image_id).returning(WatermarkRow.image_id)
    )
    return db.session.scalars(locked).one()


def add_new_images() -> int:
    """Add a batch of images above the watermark in one transaction.

    Returns the difference between the new and the old watermark. Raises StoreUnavailable if another
    transaction holds a lock for longer than LOCK_SECONDS.
    """
    settled = _settled_id()
    with write_transaction(lock_seconds=LOCK_SECONDS):
        low = lock_watermark()
        above = select(ImageRow.id).where(ImageRow.id > low, ImageRow.id <= settled)
        batch = above.order_by(ImageRow.id).limit(BATCH_IMAGES).subquery()
        if (high := db.session.scalar(select(func.max(batch.c.id)))) is None:
            return 0
        _add([ImageRow.id > low, ImageRow.id <= high], sign=1)
        db.session.execute(update(WatermarkRow).values(image_id=high))
    return int(high - low)


def _settled_id() -> int:
    """Return the highest stored id. Images that are committed later have higher ids."""
    with write_transaction(lock_seconds=LOCK_SECONDS):
        if db.engine.dialect.name == "postgresql":
            # An image gets its id before its commit. The lock waits for open inserts and blocks
            # new ones. SQLite allows one writer at a time.
            db.session.execute(text("LOCK TABLE images IN SHARE MODE"))
        return db.session.scalar(select(func.max(ImageRow.id))) or 0


def subtract_images(conditions: Conditions) -> None:
    """Subtract the images that match, up to the watermark.

    The caller deletes the images in the same transaction.
    """
    # No index on the id: most images are below the watermark, so `conditions` find them faster.
    _add([without_index(ImageRow.id) <= lock_watermark(), *conditions], sign=-1)
    for table, count in (
        (HourRow, HourRow.images),
        (HourEmotionRow, HourEmotionRow.faces),
        (HourCategoryRow, HourCategoryRow.persons),
    ):
        db.session.execute(delete(table).where(count <= 0))


def _add(conditions: Conditions, *, sign: int) -> None:
    """Add the images that match to the rollups, or subtract them if `sign` is -1."""
    keys = [start_of_hour(ImageRow.created_at).label("hour"), without_index(ImageRow.model_name)]
    images = image_sums(keys, conditions, sign=sign)
    _upsert(HourRow, (), ("images", "faces", "persons", *DIMENSIONS), images)
    emotions = emotion_sums(keys, conditions, sign=sign)
    _upsert(HourEmotionRow, ("emotion",), EMOTION_SUMS, emotions)
    categories = category_sums(keys, conditions, sign=sign)
    _upsert(HourCategoryRow, ("category",), ("persons", "shown", "score"), categories)


def image_sums(keys: Columns, conditions: Conditions, *, sign: int = 1) -> Select[Any]:
    """Query the numbers of images, faces and persons, and the sums of DIMENSIONS over the persons.

    The query returns one row per combination of the columns `keys`, over the images that match.
    """
    dimensions = (_dimension_of_image(name) for name in DIMENSIONS)
    summed = (ImageRow.face_count, ImageRow.person_count, *dimensions)
    return (
        select(*keys, sign * func.count(), *(sign * func.sum(value) for value in summed))
        .where(*conditions)
        .group_by(*keys)
    )


def _dimension_of_image(name: str) -> ColumnElement[float]:
    total = select(func.sum(getattr(PersonRow, name))).where(PersonRow.image_id == ImageRow.id)
    # Images without persons need no subquery.
    return case((ImageRow.person_count > 0, total.correlate(ImageRow).scalar_subquery()), else_=0.0)


def emotion_sums(keys: Columns, conditions: Conditions, *, sign: int = 1) -> Select[Any]:
    """Query EMOTION_SUMS over the faces of images that match, by `keys` and emotion."""
    is_dominant = EmotionRow.emotion == FaceRow.dominant
    # `without_index` forces the join order images, faces, emotions. Another order would read all
    # emotions.
    return (
        select(
            *keys,
            EmotionRow.emotion,
            sign * func.count(),
            sign * func.count().filter(is_dominant),
            sign * func.sum(EmotionRow.probability),
            sign * func.sum(case((FaceRow.exclusive, EmotionRow.probability), else_=0.0)),
        )
        .select_from(ImageRow)
        .join(FaceRow, FaceRow.image_id == without_index(ImageRow.id))
        .join(EmotionRow, EmotionRow.face_id == without_index(FaceRow.id))
        .where(*conditions)
        .group_by(*keys, EmotionRow.emotion)
    )


def category_sums(keys: Columns, conditions: Conditions, *, sign: int = 1) -> Select[Any]:
    """Query the sums over the persons of the images that match, by `keys` and category.

    The sums are the number of persons, the number of persons that show the category, and the sum of
    their scores.
    """
    return (
        select(
            *keys,
            CategoryRow.category,
            sign * func.count(),
            sign * func.count().filter(CategoryRow.shown),
            sign * func.sum(CategoryRow.score),
        )
        .select_from(ImageRow)
        .join(PersonRow, PersonRow.image_id == without_index(ImageRow.id))
        .join(CategoryRow, CategoryRow.person_id == without_index(PersonRow.id))
        # Skip images without persons.
        .where(*conditions, without_index(ImageRow.person_count) > 0)
        .group_by(*keys, CategoryRow.category)
    )


def _upsert(table: Any, label: tuple[str, ...], sums: tuple[str, ...], found: Select[Any]) -> None:
    """Add the sums of each row of `found` to the row of `table` with the same key."""
    key = ("hour", "model_name", *label)
    statement = upsert(table).from_select([*key, *sums], found)
    total = {name: getattr(table, name) + statement.excluded[name] for name in sums}
    db.session.execute(statement.on_conflict_do_update(index_elements=key, set_=total))


def whole_hours(
    since: datetime | None, until: datetime | None
) -> tuple[datetime | None, datetime | None]:
    """Return the start of the first and the end of the last whole hour between two times."""
    first, last = (None if time is None else _hour(time) for time in (since, until))
    if first is not None and since is not None and first < since:
        latest = datetime.max.replace(tzinfo=UTC)  # a later hour cannot be represented
        first = first + timedelta(hours=1) if first < _hour(latest) else latest
    return first, last


def _hour(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
