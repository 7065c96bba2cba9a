"""Decides for each filter whether an index finds its matches or the query tests row after row.

A page is read in the order of images until it is full. A filter with many matches fills the page
soon, so its condition is tested on each row that the query passes. A filter with few matches would
make the query pass all rows, so its matches are found by an index of their own and sorted. A query
passes many rows only when many rows match and all of them are old, or when two filters with many
matches hardly ever match together: it takes about a second per million images then.

All functions must be called within the transaction of the query that uses the conditions, because
they may have to count matches.
"""

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, func, select

from app.store.tables import db

FEW = 5_000

Comparison = tuple[Any, Callable[[Any, Any], Any], Any]


def has_few_rows(found: Select[Any]) -> bool:
    """Whether a query returns at most FEW rows. Reads at most FEW + 1 of them."""
    counted = select(func.count()).select_from(found.limit(FEW + 1).subquery())
    return (db.session.scalar(counted) or 0) <= FEW


def without_index(column: SQLColumnExpression[Any]) -> SQLColumnExpression[Any]:
    """The column as an expression that no index serves. Otherwise the databases, SQLite above all,
    use the index of the column and then sort, or search it again for each row."""
    return func.coalesce(column, column)


def comparisons(asked: Iterable[Comparison], *, index: bool) -> list[ColumnElement[bool]]:
    """The conditions of (column, operator, value), except those whose value is None. `index` says
    whether the query may use an index for them."""
    return [
        compare(column if index else without_index(column), value)
        for column, compare, value in asked
        if value is not None
    ]
