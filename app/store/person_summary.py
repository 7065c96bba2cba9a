"""Computes counts and means over the persons of many images, as app.store.summary for faces."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, func, select

from app.store.matching import matching_images
from app.store.person_matching import person_conditions
from app.store.planning import without_index
from app.store.records import Filters, PersonSpan
from app.store.rollup_tables import HourCategoryRow, HourRow
from app.store.rollups import DIMENSIONS, category_sums
from app.store.summary import (
    MAX_SPANS,
    can_use_rollups,
    check_image_count,
    check_span_count,
    conditions_outside_rollups,
    rollup_conditions,
    span_name,
)
from app.store.tables import ImageRow, PersonRow, db
from app.store.transactions import read_transaction
from app.vision.types import Dimensions

Conditions = Sequence[ColumnElement[bool]]


@dataclass
class _Sums:
    persons: int = 0
    dimensions: list[float] = field(default_factory=lambda: [0.0] * len(DIMENSIONS))
    scored: Counter[str] = field(default_factory=Counter)  # persons whose model has the category
    shown: Counter[str] = field(default_factory=Counter)
    scores: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add_persons(self, persons: int, *dimensions: float) -> None:
        self.persons += int(persons)
        self.dimensions = [a + b for a, b in zip(self.dimensions, dimensions, strict=True)]

    def add_category(self, category: str, scored: int, shown: int, score: float) -> None:
        self.scored[category] += int(scored)
        self.shown[category] += int(shown)
        self.scores[category] += score

    def span(self) -> PersonSpan:
        names = sorted(self.scored)
        means = (self.dimensions[n] / self.persons for n in range(len(DIMENSIONS)))
        return PersonSpan(
            self.persons,
            {name: self.shown[name] for name in names if self.shown[name]},
            {name: _clamped(self.scores[name] / self.scored[name], 0, 1) for name in names},
            Dimensions(*(_clamped(mean, 1, 10) for mean in means)) if self.persons else None,
        )


def persons_by_span(filters: Filters, *, by: str) -> dict[str, PersonSpan]:
    """Summarise the persons by "hour", "day" (UTC) or "model", in ascending order.

    Spans without persons are excluded. With a filter on persons, only persons that match are
    counted. With a filter on faces, only persons of images that match are counted. Raises
    TooWideSpan in the same cases as `summarise`.
    """
    spans: defaultdict[str, _Sums] = defaultdict(_Sums)
    with read_transaction():
        if can_use_rollups(filters):
            _add_hours(spans, filters, by)
            for part in conditions_outside_rollups(filters):
                _add_images(spans, part, [], by)
        else:
            images = matching_images(filters)
            check_image_count(images)
            _add_images(spans, images, person_conditions(filters.persons), by)
    check_span_count(spans)
    return {name: spans[name].span() for name in sorted(spans)}


def _add_hours(spans: defaultdict[str, _Sums], filters: Filters, by: str) -> None:
    name, conditions = rollup_conditions(HourRow, filters, by)
    sums: Any = (func.sum(getattr(HourRow, column)) for column in ("persons", *DIMENSIONS))
    query = select(name, *sums).where(*conditions, HourRow.persons > 0).group_by(name)
    for span, *values in db.session.execute(query.limit(MAX_SPANS + 1)):
        spans[span].add_persons(*values)
    check_span_count(spans)
    row = HourCategoryRow
    name, conditions = rollup_conditions(row, filters, by)
    sums = map(func.sum, (row.persons, row.shown, row.score))
    query = select(name, row.category, *sums).where(*conditions).group_by(name, row.category)
    for span, *values in db.session.execute(query):
        spans[span].add_category(*values)


def _add_images(
    spans: defaultdict[str, _Sums], images: Conditions, persons: Conditions, by: str
) -> None:
    name = span_name(by)
    conditions = [*images, *persons]
    sums = (func.sum(getattr(PersonRow, column)) for column in DIMENSIONS)
    counted = (
        select(name, func.count(), *sums)
        .select_from(ImageRow)
        .join(PersonRow, PersonRow.image_id == without_index(ImageRow.id))
        .where(*conditions, without_index(ImageRow.person_count) > 0)
        .group_by(name)
    )
    for span, *values in db.session.execute(counted):
        spans[span].add_persons(*values)
    for span, *values in db.session.execute(category_sums([name], conditions)):
        spans[span].add_category(*values)


def _clamped(value: float, low: float, high: float) -> float:
    # Rounding errors of the sums may exceed the range.
    return min(max(value, low), high)
