"""Counts and means over many images, computed from the hourly rollups where possible."""

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

MAX_IMAGES = 20_000  # maximum number of images that a summary reads if the rollups cannot answer it
# Limits of `faces_by_span`. Reading this number of faces takes two seconds.
MAX_MOOD_IMAGES, MAX_MOOD_FACES = 10_000, 50_000
BATCH_IMAGES = 500
MAX_SPANS = 10_000  # more than the hours of a year

Conditions = Sequence[ColumnElement[bool]]
HourTable = type[HourRow | HourEmotionRow | HourCategoryRow]


@dataclass
class _Sums:
    images: int = 0
    faces: int = 0
    dominant: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)  # faces whose model has the emotion
    probability: dict[str, float] = field(default_factory=dict)
    by_model: dict[str, dict[str, float]] = field(default_factory=dict)  # see Span.sums

    def add(self, model: str, emotion: str, *values: float) -> None:
        """Add the values of EMOTION_SUMS."""
        known, dominant, probability, exclusive_probability = values
        self.known[emotion] += int(known)
        self.dominant[emotion] += int(dominant)
        self.probability[emotion] = self.probability.get(emotion, 0.0) + probability
        sums = self.by_model.setdefault(model, {})
        sums[emotion] = sums.get(emotion, 0.0) + exclusive_probability


def summarise(filters: Filters, *, by: str) -> list[Span]:
    """Summarise images and faces by "hour", "day" (UTC) or "model", in ascending order.

    With a filter on faces, only images and faces that match are counted. With a filter on persons,
    only images that match are counted. Raises TooWideSpan for more than MAX_SPANS, and if the
    rollups do not suffice and more than MAX_IMAGES images match.
    """
    spans: dict[str, _Sums] = {}
    with read_transaction():
        if can_use_rollups(filters):
            _add_hours(spans, filters, by)
            for part in conditions_outside_rollups(filters):
                _add_images(spans, part, [], by)
        else:
            images = [
                *image_conditions(filters),
                *image_has_found_face(filters),
                *image_has_person(filters.persons),
            ]
            check_image_count(images)
            _add_images(spans, images, face_conditions(filters), by)
    check_span_count(spans)
    return [_span(name, spans[name]) for name in sorted(spans)]


def can_use_rollups(filters: Filters) -> bool:
    """Return whether the rollups hold the sums for the filters."""
    return filters == Filters(since=filters.since, until=filters.until, model=filters.model)


def check_image_count(images: Conditions) -> None:
    """Raise TooWideSpan if more than MAX_IMAGES images match."""
    found = select(ImageRow.id).where(*images).limit(MAX_IMAGES + 1).subquery()
    if (db.session.scalar(select(func.count()).select_from(found)) or 0) > MAX_IMAGES:
        raise TooWideSpan(
            f"more than {MAX_IMAGES:,} images match these filters: choose a shorter time with "
            "since and until"
        )


def faces_by_span(filters: Filters, *, by: str) -> Iterator[tuple[str, list[Face]]]:
    """Yield the span and all faces of each image that matches and has faces.

    All images come from the same state of the database. Raises TooWideSpan for more than
    MAX_MOOD_IMAGES images or MAX_MOOD_FACES faces.
    """
    found = select(ImageRow.id, span_name(by), ImageRow.face_count)
    found = found.order_by(ImageRow.created_at.desc(), ImageRow.id.desc())
    with read_transaction():
        conditions = [*matching_images(filters), without_index(ImageRow.face_count) > 0]
        images = db.session.execute(found.where(*conditions).limit(MAX_MOOD_IMAGES + 1)).all()
        face_count = sum(image.face_count for image in images)
        if len(images) > MAX_MOOD_IMAGES or face_count > MAX_MOOD_FACES:
            raise TooWideSpan(
                f"moods need at most {MAX_MOOD_IMAGES:,} images and {MAX_MOOD_FACES:,} faces, but "
                "more match: choose a shorter time with since and until"
            )
        spans = {image_id: span for image_id, span, _ in images}
        ids = list(spans)
        for first in range(0, len(ids), BATCH_IMAGES):
            for image_id, faces in faces_by_image(ids[first : first + BATCH_IMAGES]).items():
                yield spans[image_id], faces


def span_name(by: str) -> SQLColumnExpression[str]:
    """Return the name of the span of an image."""
    if by == "model":
        return without_index(ImageRow.model_name)
    return span_text(ImageRow.created_at, by)


def check_span_count(spans: Sized) -> None:
    """Raise TooWideSpan for more than MAX_SPANS."""
    if len(spans) > MAX_SPANS:
        raise TooWideSpan(
            f"the summary has more than {MAX_SPANS:,} spans: choose a shorter time with since and "
            "until, or a longer unit with by=day or by=model"
        )


def _span(name: str, sums: _Sums) -> Span:
    emotions = sorted(sums.known)
    return Span(
        name,
        sums.images,
        sums.faces,
        {emotion: sums.dominant[emotion] for emotion in emotions if sums.dominant[emotion]},
        # Rounding errors of the sums may exceed the range.
        {
            emotion: min(max(sums.probability[emotion] / sums.known[emotion], 0.0), 1.0)
            for emotion in emotions
        },
        sums.by_model,
    )


def _add_hours(spans: dict[str, _Sums], filters: Filters, by: str) -> None:
    name, conditions = rollup_conditions(HourRow, filters, by)
    counted = select(name, func.sum(HourRow.images), func.sum(HourRow.faces))
    counted = counted.where(*conditions).group_by(name).limit(MAX_SPANS + 1)
    for span, images, faces in db.session.execute(counted):
        added = spans.setdefault(span, _Sums())
        added.images += int(images)
        added.faces += int(faces)
    check_span_count(spans)
    row = HourEmotionRow
    name, conditions = rollup_conditions(row, filters, by)
    sums: Any = (func.sum(getattr(row, column)) for column in EMOTION_SUMS)
    found = select(name, row.model_name, row.emotion, *sums)
    found = found.where(*conditions).group_by(name, row.model_name, row.emotion)
    for span, *values in db.session.execute(found):
        spans.setdefault(span, _Sums()).add(*values)


def rollup_conditions(
    table: HourTable, filters: Filters, by: str
) -> tuple[SQLColumnExpression[str], Conditions]:
    """Return the span name of a rollup row, and the conditions of the filters on rollups."""
    first, end = whole_hours(filters.since, filters.until)
    conditions: list[ColumnElement[bool]] = []
    if first is not None:
        conditions.append(table.hour >= first)
    if end is not None:
        conditions.append(table.hour < end)
    if filters.model is not None:
        conditions.append(table.model_name == filters.model)
    return table.model_name if by == "model" else span_text(table.hour, by), conditions


def conditions_outside_rollups(filters: Filters) -> list[Conditions]:
    """Return conditions for the images that need direct aggregation, in disjoint parts.

    The parts are the images above the watermark, and the images of hours that `since` and `until`
    only partly include.
    """
    last_id = watermark()
    first, end = whole_hours(filters.since, filters.until)
    above = [ImageRow.id > last_id, *image_conditions(filters, index=False)]
    below = [ImageRow.id <= last_id, *image_conditions(filters)]
    parts: list[Conditions] = [above]
    if first is not None and end is not None and first >= end:  # no whole hour
        return [*parts, below]
    if first is not None and first != filters.since:
        parts.append([*below, ImageRow.created_at < first])
    if end is not None and end != filters.until:
        parts.append([*below, ImageRow.created_at >= end])
    return parts


def _add_images(spans: dict[str, _Sums], images: Conditions, faces: Conditions, by: str) -> None:
    """Add the images and faces that match."""
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
