"""Encodes and decodes the cursors of pages.

A cursor holds the sort key of the last item of a page. The next page begins after it.
"""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Any

from app.errors import InvalidCursor

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode_cursor(created_at: datetime, *numbers: int) -> str:
    """Encode microseconds since 1970 and the other numbers of a sort key as URL-safe text."""
    microseconds = (created_at - EPOCH) // timedelta(microseconds=1)
    text = ".".join(map(str, (microseconds, *numbers)))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, length: int) -> tuple[Any, ...]:
    """Return the time and the `length - 1` numbers of a cursor. Raises InvalidCursor."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
        microseconds, *numbers = map(int, text.split("."))
        limits = (2**63, 2**31)  # an id of an image, and the number of a face or person
        if len(numbers) != length - 1 or not all(
            0 < number < limit for number, limit in zip(numbers, limits, strict=False)
        ):
            raise ValueError("wrong numbers")
        return (EPOCH + timedelta(microseconds=microseconds), *numbers)
    except (ValueError, OverflowError, binascii.Error) as error:
        raise InvalidCursor(
            "the cursor is invalid: use a cursor from a response of this service"
        ) from error
