"""Builds the conditions of filters on persons.

Each filter is a criterion. If few persons match a criterion, an index finds them. Otherwise the
query tests each person that it reads. See app.store.planning.
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
    """Two forms of the same condition.

    `found` selects the ids of the matching persons with an index. `tested` holds conditions that
    test a person without an index.
    """

    found: Select[Any]
    tested: list[ColumnElement[bool]]


def person_conditions(filters: PersonFilters) -> list[ColumnElement[bool]]:
    """Return conditions on persons. Call it within the transaction of the query."""
    found, tested = _chosen(filters)
    return [*found, *tested]


def image_has_person(filters: PersonFilters) -> list[ColumnElement[bool]]:
    """Return conditions on images: one person must match all filters.

    Call it within the transaction of the query.
    """
    found, tested = _chosen(filters)
    if found:
        return [ImageRow.id.in_(select(PersonRow.image_id).where(*found, *tested))]
    if not tested:
        return []
    # A scalar subquery, because PostgreSQL may turn EXISTS into a join with all persons.
    person = select(func.min(PersonRow.number)).where(PersonRow.image_id == ImageRow.id)
    return [person.where(*tested).correlate(ImageRow).scalar_subquery().is_not(None)]


def _chosen(
    filters: PersonFilters,
) -> tuple[list[ColumnElement[bool]], list[ColumnElement[bool]]]:
    """Return the conditions that find persons by an index, and the conditions that test persons."""
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
        limits = ((column, operator.ge, lowest), (column, operator.le, highest))
        if conditions := comparisons(limits, index=True):
            found = select(PersonRow.id).where(*conditions)
            criteria.append(_Criterion(found, comparisons(limits, index=False)))
    return criteria


def _category(category: str, min_score: float | None) -> _Criterion:
    """Match persons that show the category, or that have at least `min_score` for it."""
    found = select(CategoryRow.person_id).where(CategoryRow.category == category)
    # Scalar subqueries, because PostgreSQL may turn EXISTS into a join with all categories.
    conditions = (
        CategoryRow.person_id == PersonRow.id,
        without_index(CategoryRow.category) == category,
    )
    if min_score is None:
        shown = select(CategoryRow.shown).where(*conditions).correlate(PersonRow).scalar_subquery()
        return _Criterion(found.where(CategoryRow.shown), [shown.is_(True)])
    score = select(CategoryRow.score).where(*conditions).correlate(PersonRow).scalar_subquery()
    return _Criterion(found.where(CategoryRow.score >= min_score), [score >= min_score])
