"""Counts and means over many images, from the hourly rollups wherever they can answer."""

from collections import Counter
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, func, select

from app.errors import TooWideSpan
from app.store.dialect import span_text
from app.store.matching import (
    face_conditions,
    image_conditions,
    image_has_found_face,
    matching_images,
)
from app.store.person_matching import image_has_person
from app.store.planning import without_index
from app.store.reading import faces_by_image
from app.store.records import Filters, Span
from app.store.rollup_tables import HourCategoryRow, HourEmotionRow, HourRow
from app.store.rollups import EMOTION_SUMS, emotion_sums, watermark, whole_hours
from app.store.tables import FaceRow, ImageRow, db
from app.store.transactions import read_transaction
from app.vision.types import Face

MOST_IMAGES = 20_000  # that a summary reads one by one, for filters that the rollups do not hold
# Where the distributions of all faces are read, which takes two seconds for this number.
MOST_IMAGES_READ, MOST_FACES_READ = 10_000, 50_000
IMAGES_AT_ONCE = 500
MOST_SPANS = 10_000  # a year by the hour has fewer

Conditions = Sequence[ColumnElement[bool]]
HourTable = type[HourRow | HourEmotionRow | HourCategoryRow]


@dataclass
class _Sums:
    images: int = 0
    faces: int = 0
    dominant: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    probability: dict[str, float] = field(default_factory=dict)
    by_model: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, model: str, emotion: str, *values: float) -> None:
        """Add the values of EMOTION_SUMS."""
        known, dominant, probability, exclusive_probability = values
        self.known[emotion] += int(known)
        self.dominant[emotion] += int(dominant)
        self.probability[emotion] = self.probability.get(emotion, 0.0) + probability
        sums = self.by_model.setdefault(model, {})
        sums[emotion] = sums.get(emotion, 0.0) + exclusive_probability


def summarise(filters: Filters, *, by: str) -> list[Span]:
    """Counts and mean probabilities by "hour", "day" (UTC) or "model", in ascending order.

    With a filter on faces, only images and faces that match are counted; with a filter on persons,
    only images that match. Raises TooWideSpan when more than MOST_IMAGES would be read one by one,
    or for more than MOST_SPANS.
    """
    spans: dict[str, _Sums] = {}
    with read_transaction():
        if in_rollups(filters):
            _add_hours(spans, filters, by)
            for part in outside_hours(filters):
                _add_images(spans, part, [], by)
        else:
            images = [
                *image_conditions(filters),
                *image_has_found_face(filters),
                *image_has_person(filters.persons),
            ]
            refuse_too_many_images(images)
            _add_images(spans, images, face_conditions(filters), by)
    refuse_too_many_spans(spans)
    return [_span(name, spans[name]) for name in sorted(spans)]


def in_rollups(filters: Filters) -> bool:
    """Whether the rollups hold what the filters ask for."""
    return filters == Filters(since=filters.since, until=filters.until, model=filters.model)


def refuse_too_many_images(images: Conditions) -> None:
    """Raises TooWideSpan when more than MOST_IMAGES images match."""
    found = select(ImageRow.id).where(*images).limit(MOST_IMAGES + 1).subquery()
    if (db.session.scalar(select(func.count()).select_from(found)) or 0) > MOST_IMAGES:
        raise TooWideSpan(
            f"with these filters a summary reads image by image, and more than {MOST_IMAGES:,} "
            f"images match: ask for a shorter time with since and until"
        )


def faces_by_span(filters: Filters, *, by: str) -> Iterator[tuple[str, list[Face]]]:
    """The span and all faces of each image that matches and has faces, a few images at a time, from
    one state of the database.

    Raises TooWideSpan for more than MOST_IMAGES_READ images or more than MOST_FACES_READ faces.
    """
    found = select(ImageRow.id, span_name(by), ImageRow.face_count)
    found = found.order_by(ImageRow.created_at.desc(), ImageRow.id.desc())
    with read_transaction():
        conditions = [*matching_images(filters), without_index(ImageRow.face_count) > 0]
        images = db.session.execute(found.where(*conditions).limit(MOST_IMAGES_READ + 1)).all()
        face_count = sum(image.face_count for image in images)
        if len(images) > MOST_IMAGES_READ or face_count > MOST_FACES_READ:
            raise TooWideSpan(
                f"moods are computed image by image, and more than {MOST_IMAGES_READ:,} images or "
                f"{MOST_FACES_READ:,} faces match: ask for a shorter time with since and until"
            )
        spans = {image_id: span for image_id, span, _ in images}
        ids = list(spans)
        for first in range(0, len(ids), IMAGES_AT_ONCE):
            for image_id, faces in faces_by_image(ids[first : first + IMAGES_AT_ONCE]).items():
                yield spans[image_id], faces


def span_name(by: str) -> SQLColumnExpression[str]:
    """The name of the span of an image."""
    if by == "model":
        return without_index(ImageRow.model_name)
    return span_text(ImageRow.created_at, by)


def refuse_too_many_spans(spans: Sized) -> None:
    """Raises TooWideSpan for more than MOST_SPANS."""
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
        # Adding and subtracting may change the last digit.
        {
            emotion: min(max(sums.probability[emotion] / sums.known[emotion], 0.0), 1.0)
            for emotion in emotions
        },
        sums.by_model,
    )


def _add_hours(spans: dict[str, _Sums], filters: Filters, by: str) -> None:
    name, conditions = of_hours(HourRow, filters, by)
    counted = select(name, func.sum(HourRow.images), func.sum(HourRow.faces))
    counted = counted.where(*conditions).group_by(name).limit(MOST_SPANS + 1)
    for span, images, faces in db.session.execute(counted):
        added = spans.setdefault(span, _Sums())
        added.images += int(images)
        added.faces += int(faces)
    refuse_too_many_spans(spans)
    row = HourEmotionRow
    name, conditions = of_hours(row, filters, by)
    sums: Any = (func.sum(getattr(row, column)) for column in EMOTION_SUMS)
    found = select(name, row.model_name, row.emotion, *sums)
    found = found.where(*conditions).group_by(name, row.model_name, row.emotion)
    for span, *values in db.session.execute(found):
        spans.setdefault(span, _Sums()).add(*values)


def of_hours(
    table: HourTable, filters: Filters, by: str
) -> tuple[SQLColumnExpression[str], Conditions]:
    """The name of the span of a rollup, and the conditions of the filters on it."""
    first, end = whole_hours(filters.since, filters.until)
    conditions: list[ColumnElement[bool]] = []
    if first is not None:
        conditions.append(table.hour >= first)
    if end is not None:
        conditions.append(table.hour < end)
    if filters.model is not None:
        conditions.append(table.model_name == filters.model)
    return table.model_name if by == "model" else span_text(table.hour, by), conditions


def outside_hours(filters: Filters) -> list[Conditions]:
    """Conditions for the images that the rollups do not answer, in disjoint parts: images above the
    watermark, and the parts of hours that `since` and `until` cut."""
    reached = watermark()
    first, end = whole_hours(filters.since, filters.until)
    above = [ImageRow.id > reached, *image_conditions(filters, index=False)]
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
    """Add the images that match, and their faces that match."""
    name = span_name(by)
    counted = select(name, func.count(ImageRow.id.distinct()), func.count(FaceRow.id))
    of_image = FaceRow.image_id == without_index(ImageRow.id)
    counted = counted.join(FaceRow, of_image, isouter=not faces)
    for span, count, face_count in db.session.execute(
        counted.where(*images, *faces).group_by(name)
    ):
        sums = spans.setdefault(span, _Sums())
        sums.images += count
        sums.faces += face_count
    keys = [name, without_index(ImageRow.model_name)]
    for row in db.session.execute(emotion_sums(keys, [*images, *faces])):
        spans.setdefault(row[0], _Sums()).add(*row[1:])
