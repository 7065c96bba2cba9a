"""Converts options and filters to the text of query parameters and form fields."""

from datetime import datetime
from typing import Any

from emotions.sources import storable_name
from emotions.types import Filters


def parameters(**values: Any) -> dict[str, str]:
    """Return the values as text. Skips values that are None. Naive datetimes are local time."""
    return {name: _text(value) for name, value in values.items() if value is not None}


def filter_parameters(filters: Filters) -> dict[str, str]:
    """Return the filters as text, with the file name in the form that the service stores."""
    texts = parameters(**filters)
    if "file_name" in texts:
        texts["file_name"] = storable_name(texts["file_name"])
    return texts


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.astimezone().isoformat()  # the service requires a time zone
    return str(value)
