"""Conditions on persons for filters: see app.store.planning for how a condition is chosen.

Each filter is a criterion of its own. A criterion that few persons match is answered by its index;
the others are tested on each person that the query passes.
"""

import operator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

from app.store.planning import comparisons, has_few_rows, without_index
from app.store.records import PersonFilters
from app.store.tables import CategoryRow, ImageRow, PersonRow


@dataclass(frozen=True, slots=True)
class _Criterion:
    """The same condition twice: `found` selects the ids of the matching persons by an index,
    `tested` holds conditions on a person that the query has reached."""

    found: Select[Any]
    tested: list[ColumnElement[bool]]


def person_conditions(filters: PersonFilters) -> list[ColumnElement[bool]]:
    """Conditions on persons. Call it within the transaction of the query that uses them."""
    found, tested = _chosen(filters)
    return [*found, *tested]


def image_has_person(filters: PersonFilters) -> list[ColumnElement[bool]]:
    """Conditions on images: one person must match all filters. Call it within the transaction of
    the query that uses them."""
    found, tested = _chosen(filters)
    if found:
        return [ImageRow.id.in_(select(PersonRow.image_id).where(*found, *tested))]
    if not tested:
        return []
    person = select(func.min(PersonRow.number)).where(PersonRow.image_id == ImageRow.id)
    return [person.where(*tested).correlate(ImageRow).scalar_subquery().is_not(None)]


def _chosen(
    filters: PersonFilters,
) -> tuple[list[ColumnElement[bool]], list[ColumnElement[bool]]]:
    """Conditions that find persons by an index, and conditions that test them."""
    found: list[ColumnElement[bool]] = []
    tested: list[ColumnElement[bool]] = []
    for criterion in _criteria(filters):
        if has_few_rows(criterion.found):
            found.append(PersonRow.id.in_(criterion.found))
        else:
            tested += criterion.tested
    return found, tested


def _criteria(filters: PersonFilters) -> list[_Criterion]:
    criteria = []
    if filters.category is not None:
        criteria.append(_category(filters.category, filters.min_score))
    ranges = (
        (PersonRow.valence, filters.min_valence, filters.max_valence),
        (PersonRow.arousal, filters.min_arousal, filters.max_arousal),
        (PersonRow.dominance, filters.min_dominance, filters.max_dominance),
    )
    for column, lowest, highest in ranges:
        asked = ((column, operator.ge, lowest), (column, operator.le, highest))
        if conditions := comparisons(asked, index=True):
            found = select(PersonRow.id).where(*conditions)
            criteria.append(_Criterion(found, comparisons(asked, index=False)))
    return criteria


def _category(category: str, min_score: float | None) -> _Criterion:
    """Persons that show the category or, with `min_score`, persons with at least that score."""
    found = select(CategoryRow.person_id).where(CategoryRow.category == category)
    # Values instead of EXISTS, which PostgreSQL may turn into a join with all categories.
    own = (CategoryRow.person_id == PersonRow.id, without_index(CategoryRow.category) == category)
    if min_score is None:
        shown = select(CategoryRow.shown).where(*own).correlate(PersonRow).scalar_subquery()
        return _Criterion(found.where(CategoryRow.shown), [shown.is_(True)])
    score = select(CategoryRow.score).where(*own).correlate(PersonRow).scalar_subquery()
    return _Criterion(found.where(CategoryRow.score >= min_score), [score >= min_score])
