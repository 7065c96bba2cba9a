"""Counts and means over many images, from the sums by the hour wherever these are of use."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, func, select

from app.errors import TooWideSpan
from app.store.faces import faces_of
from app.store.matching import (
    face_conditions,
    found_images,
    image_conditions,
    matching_images,
    without_index,
)
from app.store.records import Filters, Span
from app.store.rollups import emotion_sums, mark, whole_hours
from app.store.tables import FaceRow, HourEmotionRow, HourRow, ImageRow, db
from app.store.transactions import read_transaction
from app.vision.types import Face

MOST_IMAGES = 20_000  # to be looked at one by one, for filters that the sums do not know
# Where the distributions of all faces are read, which takes two seconds for so many.
MOST_IMAGES_READ, MOST_FACES_READ = 10_000, 50_000
IMAGES_AT_ONCE = 500
# A year by the hour has fewer.
MOST_SPANS = 10_000

Conditions = Sequence[ColumnElement[bool]]

# How RFC 3339 writes the start of a span, in the words of each database.
_SPAN_FORMATS = {
    ("hour", "sqlite"): "%Y-%m-%dT%H:00:00Z",
    ("hour", "postgresql"): 'YYYY-MM-DD"T"HH24:00:00"Z"',
    ("day", "sqlite"): "%Y-%m-%d",
    ("day", "postgresql"): "YYYY-MM-DD",
}


@dataclass
class _Sums:
    images: int = 0
    faces: int = 0
    dominant: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    probability: dict[str, float] = field(default_factory=dict)
    by_model: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, model: str, emotion: str, known: int, dominant: int, probability: float) -> None:
        self.known[emotion] += int(known)
        self.dominant[emotion] += int(dominant)
        self.probability[emotion] = self.probability.get(emotion, 0.0) + probability
        sums = self.by_model.setdefault(model, {})
        sums[emotion] = sums.get(emotion, 0.0) + probability


def summarise(filters: Filters, *, by: str) -> list[Span]:
    """Counts and mean probabilities by "hour", "day" (UTC) or "model", in ascending order.

    With a filter on faces, images and faces that match it are counted. Raises TooWideSpan where
    more than MOST_IMAGES would have to be looked at one by one, or for more than MOST_SPANS.
    """
    spans: dict[str, _Sums] = {}
    with read_transaction():
        if filters == Filters(since=filters.since, until=filters.until, model=filters.model):
            _add_hours(spans, filters, by)
            for part in _beside_hours(filters):
                _add_images(spans, part, [], by)
        else:
            images = found_images(filters)
            looked_at = select(ImageRow.id).where(*images).limit(MOST_IMAGES + 1).subquery()
            if (db.session.scalar(select(func.count()).select_from(looked_at)) or 0) > MOST_IMAGES:
                raise TooWideSpan(
                    f"with these filters a summary looks at each image, and there are more than "
                    f"{MOST_IMAGES:,}: ask for a shorter time with since and until"
                )
            _add_images(spans, images, face_conditions(filters), by)
    _refuse_too_many(spans)
    return [_span(name, spans[name]) for name in sorted(spans)]


def faces_by_span(filters: Filters, *, by: str) -> Iterator[tuple[str, list[Face]]]:
    """The faces of each image that matches and has any, all of them, with the span that it is in;
    of one state of the database, read a few images at a time.

    Raises TooWideSpan where there are more than MOST_IMAGES_READ, or more than MOST_FACES_READ.
    """
    name = (
        without_index(ImageRow.model_name) if by == "model" else _written(ImageRow.created_at, by)
    )
    found: Any = select(ImageRow.id, name, ImageRow.face_count)
    found = found.order_by(ImageRow.created_at.desc(), ImageRow.id.desc())
    with read_transaction():
        conditions = [*matching_images(filters), without_index(ImageRow.face_count) > 0]
        found = found.where(*conditions).limit(MOST_IMAGES_READ + 1)
        images = db.session.execute(found).all()
        of_faces = sum(image.face_count for image in images)
        if len(images) > MOST_IMAGES_READ or of_faces > MOST_FACES_READ:
            raise TooWideSpan(
                f"moods are made image by image, and there are more than {MOST_IMAGES_READ:,}, or "
                f"{MOST_FACES_READ:,} faces: ask for a shorter time with since and until"
            )
        spans = {image_id: span for image_id, span, _ in images}
        ids = list(spans)
        for first in range(0, len(ids), IMAGES_AT_ONCE):
            for image_id, faces in faces_of(ids[first : first + IMAGES_AT_ONCE]):
                yield spans[image_id], faces


def _refuse_too_many(spans: dict[str, _Sums]) -> None:
    if len(spans) > MOST_SPANS:
        raise TooWideSpan(
            f"the answer would have more than {MOST_SPANS:,} spans: ask for a shorter time with "
            f"since and until, or for longer spans with by"
        )


def _span(name: str, sums: _Sums) -> Span:
    emotions = sorted(sums.known)
    return Span(
        name,
        sums.images,
        sums.faces,
        {emotion: sums.dominant[emotion] for emotion in emotions if sums.dominant[emotion]},
        # What was added and subtracted may miss by the last digit.
        {
            emotion: min(max(sums.probability[emotion] / sums.known[emotion], 0.0), 1.0)
            for emotion in emotions
        },
        sums.by_model,
    )


def _add_hours(spans: dict[str, _Sums], filters: Filters, by: str) -> None:
    name, conditions = _of_hours(HourRow, filters, by)
    found: Any = select(name, func.sum(HourRow.images), func.sum(HourRow.faces))
    found = found.where(*conditions).group_by(name).limit(MOST_SPANS + 1)
    for span, images, faces in db.session.execute(found):
        made = spans.setdefault(span, _Sums())
        made.images += int(images)
        made.faces += int(faces)
    _refuse_too_many(spans)
    row = HourEmotionRow
    name, conditions = _of_hours(row, filters, by)
    sums = map(func.sum, (row.faces, row.dominant, row.probability))
    found = select(name, row.model_name, row.emotion, *sums)
    found = found.where(*conditions).group_by(name, row.model_name, row.emotion)
    for span, *values in db.session.execute(found):
        spans.setdefault(span, _Sums()).add(*values)


def _of_hours(
    table: type[HourRow] | type[HourEmotionRow], filters: Filters, by: str
) -> tuple[SQLColumnExpression[str], Conditions]:
    """What to group a table of sums by, and the conditions of the filters on it."""
    first, end = whole_hours(filters.since, filters.until)
    conditions: list[ColumnElement[bool]] = []
    if first is not None:
        conditions.append(table.hour >= first)
    if end is not None:
        conditions.append(table.hour < end)
    if filters.model is not None:
        conditions.append(table.model_name == filters.model)
    return table.model_name if by == "model" else _written(table.hour, by), conditions


def _beside_hours(filters: Filters) -> list[Conditions]:
    """What the sums do not hold, in parts: images above the mark, and the hours that `since` and
    `until` cut."""
    reached = mark()
    first, end = whole_hours(filters.since, filters.until)
    above = [ImageRow.id > reached, *image_conditions(filters, at_hand=True)]
    below = [ImageRow.id <= reached, *image_conditions(filters)]
    parts: list[Conditions] = [above]
    if first is not None and end is not None and first >= end:
        return [*parts, below]
    if first is not None and first != filters.since:
        parts.append([*below, ImageRow.created_at < first])
    if end is not None and end != filters.until:
        parts.append([*below, ImageRow.created_at >= end])
    return parts


def _add_images(spans: dict[str, _Sums], images: Conditions, faces: Conditions, by: str) -> None:
    """Those that match, one by one."""
    model = without_index(ImageRow.model_name)
    name = model if by == "model" else _written(ImageRow.created_at, by)
    counted = select(name, func.count(ImageRow.id.distinct()), func.count(FaceRow.id))
    of_image = FaceRow.image_id == without_index(ImageRow.id)
    counted = counted.join(FaceRow, of_image, isouter=not faces)
    for span, count, of_faces in db.session.execute(counted.where(*images, *faces).group_by(name)):
        made = spans.setdefault(span, _Sums())
        made.images += count
        made.faces += of_faces
    for row in db.session.execute(emotion_sums([name, model], [*images, *faces])):
        spans.setdefault(row[0], _Sums()).add(*row[1:])


def _written(moment: SQLColumnExpression[Any], by: str) -> SQLColumnExpression[str]:
    form = _SPAN_FORMATS[by, db.engine.dialect.name]
    if db.engine.dialect.name == "sqlite":
        return func.strftime(form, moment)
    return func.to_char(moment, form)
