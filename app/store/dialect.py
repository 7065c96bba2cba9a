"""Builds SQL that differs between SQLite and PostgreSQL."""

from typing import Any

from sqlalchemy import SQLColumnExpression, func
from sqlalchemy.dialects import postgresql, sqlite

from app.store.tables import db

_INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
# The name of a span is its start in the format of RFC 3339.
_SPAN_FORMATS = {
    ("hour", "sqlite"): "%Y-%m-%dT%H:00:00Z",
    ("hour", "postgresql"): 'YYYY-MM-DD"T"HH24:00:00"Z"',
    ("day", "sqlite"): "%Y-%m-%d",
    ("day", "postgresql"): "YYYY-MM-DD",
}


def upsert(table: Any) -> Any:
    """Return an INSERT into `table` that supports an ON CONFLICT clause."""
    return _INSERT[db.engine.dialect.name](table)


def start_of_hour(time: SQLColumnExpression[Any]) -> SQLColumnExpression[Any]:
    """Return the start of the hour of `time`, in the storage format of the database."""
    if db.engine.dialect.name == "sqlite":
        return func.strftime("%Y-%m-%d %H:00:00.000000", time)
    return func.date_trunc("hour", time)


def span_text(time: SQLColumnExpression[Any], by: str) -> SQLColumnExpression[str]:
    """Return the name of the hour or day (`by`) that contains `time`."""
    pattern = _SPAN_FORMATS[by, db.engine.dialect.name]
    if db.engine.dialect.name == "sqlite":
        return func.strftime(pattern, time)
    return func.to_char(time, pattern)
