"""Parameter types of click that accept only plain ASCII decimal numbers."""

from typing import Any

import click

from app.plain_numbers import parse_decimal, parse_whole


class WholeNumber(click.IntRange):
    """A whole number in a range, such as 10."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str):
            try:
                value = parse_whole(value)
            except ValueError:
                self.fail(f"{value[:40]!r} is not a whole number such as 10", param, ctx)
        return super().convert(value, param, ctx)


class DecimalNumber(click.FloatRange):
    """A decimal number in a range, such as 0.25 or 2.5e-1."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str):
            try:
                value = parse_decimal(value)
            except ValueError:
                self.fail(f"{value[:40]!r} is not a decimal number such as 0.25", param, ctx)
        return super().convert(value, param, ctx)
