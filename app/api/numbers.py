"""Numbers in requests: marshmallow fields for options, and the converter for ids in paths.

Texts of queries, forms and JSON are read by app.plain_numbers.
"""

from typing import Any

from marshmallow import fields
from werkzeug.routing import IntegerConverter

from app.plain_numbers import parse_decimal, parse_whole


class DecimalNumber(fields.Float):
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
        return super()._deserialize(value, *args, **kwargs) + 0.0  # makes -0.0 a plain zero


class WholeNumber(fields.Integer):
    """Accepts JSON numbers such as 3.0. Refuses 3.5 instead of cutting it to 3."""

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
    """Accepts ASCII digits only. Werkzeug's converter also accepts digits of other scripts."""

    regex = r"[0-9]+"
