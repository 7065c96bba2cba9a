"""Numbers in requests: marshmallow fields for options, and the converter for ids in paths.

app.plain_numbers parses numbers that queries, forms and JSON send as strings.
"""

from typing import Any

from marshmallow import fields
from werkzeug.routing import IntegerConverter

from app.plain_numbers import parse_decimal, parse_whole


class DecimalNumber(fields.Float):
    """A finite number, as a JSON number or as a string in plain decimal notation."""

    default_error_messages = {
        "invalid": "must be a decimal number such as 0.25",
        "special": "must be a decimal number such as 0.25",
        "too_large": "must be a smaller number",
    }

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> float:
        if isinstance(value, str):
            try:
                value = parse_decimal(value)
            except ValueError as error:
                raise self.make_error("invalid", input=value) from error
        return super()._deserialize(value, *args, **kwargs) + 0.0  # turns -0.0 into 0.0


class WholeNumber(fields.Integer):
    """An integer. Accepts JSON numbers such as 3.0, and rejects 3.5 instead of truncating it."""

    default_error_messages = {
        "invalid": "must be a whole number such as 10",
        "too_large": "must be a smaller number",
    }

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        try:
            value = parse_whole(value) if isinstance(value, str) else value
        except ValueError as error:
            raise self.make_error("invalid", input=value) from error
        if isinstance(value, float) and not value.is_integer():
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, *args, **kwargs)


class IdConverter(IntegerConverter):
    """Matches ASCII digits only. Werkzeug's converter also matches digits of other scripts."""

    regex = r"[0-9]+"
