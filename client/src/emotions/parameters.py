"""Converts options and filters to the text of a query or a form."""

from datetime import datetime
from typing import Any


def given(**values: Any) -> dict[str, str]:
    """Return the values that are not None, as text. A time without a zone is local time."""
    return {name: _text(value) for name, value in values.items() if value is not None}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.astimezone().isoformat()  # the service accepts times with a zone only
    return str(value)
