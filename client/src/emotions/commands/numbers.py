"""Click parameter types that accept plain ASCII decimal numbers only."""

import math
from typing import Any

import click

from emotions.plain_numbers import parse_decimal, parse_whole


class Whole(click.IntRange):
    """A whole number in a range, such as 10."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str):
            try:
                value = parse_whole(value)
            except ValueError:
                self.fail(f"{value[:40]!r} is not a whole number such as 10", param, ctx)
        return super().convert(value, param, ctx)


class Decimal(click.FloatRange):
    """A finite number in a range, such as 0.25 or 2.5e-1."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str):
            try:
                number = parse_decimal(value)
            except ValueError:
                self.fail(f"{value[:40]!r} is not a decimal number such as 0.25", param, ctx)
            if not math.isfinite(number):
                self.fail(f"{value[:40]!r} is too large", param, ctx)
            value = number
        return super().convert(value, param, ctx)
