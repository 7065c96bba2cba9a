"""Converts options and filters to the text of a query or a form."""

from datetime import datetime
from typing import Any

from emotions.sources import storable_name
from emotions.types import Filters


def given(**values: Any) -> dict[str, str]:
    """Return the values that are not None, as text. A time without a zone is local time."""
    return {name: _text(value) for name, value in values.items() if value is not None}


def given_filters(filters: Filters) -> dict[str, str]:
    """Return the filters as text, with the file name as the service stores it."""
    texts = given(**filters)
    if "file_name" in texts:
        texts["file_name"] = storable_name(texts["file_name"])
    return texts


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.astimezone().isoformat()  # the service accepts times with a zone only
    return str(value)
