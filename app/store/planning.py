"""Decides for each filter whether an index finds its matches or the query tests each row.

A query reads images in the order of pages until a page is full. A filter with many matches fills
the page soon, so the query tests each row. A filter with few matches would make the query read all
rows, so an index finds its matches, and the database sorts them. Two cases still read many rows:
all matches of a filter are old, or each of two filters has many matches but few images match both.
Such a query takes about a second per million images. See docs/internals/filter-planning.md.

Call all functions within the transaction of the query, because they may count matches.
"""

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, func, select

from app.store.tables import db

FEW = 5_000

Comparison = tuple[Any, Callable[[Any, Any], Any], Any]


def has_few_rows(found: Select[Any]) -> bool:
    """Return whether a query has at most FEW rows. Reads at most FEW + 1 of them."""
    counted = select(func.count()).select_from(found.limit(FEW + 1).subquery())
    return (db.session.scalar(counted) or 0) <= FEW


def without_index(column: SQLColumnExpression[Any]) -> SQLColumnExpression[Any]:
    """Return the column as an expression that no index covers.

    Otherwise SQLite, and sometimes PostgreSQL, uses the index of the column and then sorts the
    rows, or searches the index again for each row.
    """
    return func.coalesce(column, column)


def comparisons(criteria: Iterable[Comparison], *, index: bool) -> list[ColumnElement[bool]]:
    """Return the conditions of (column, operator, value) triples. Skips triples with value None.

    With `index=False`, the query uses no index for them.
    """
    return [
        compare(column if index else without_index(column), value)
        for column, compare, value in criteria
        if value is not None
    ]
