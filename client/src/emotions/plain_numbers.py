"""Strict parsing of ASCII decimal numbers on the command line, as in requests.

Python's `float` and `int` also accept underscores, surrounding spaces, a plus sign and digits of
other scripts. With them, `emotions delete 1_0` would delete image 10.

The service has the same code in app/plain_numbers.py. A test compares the two.
"""

import re

# The "valid floating-point number" of HTML, which <input type="number"> sends. It includes all
# numbers of JSON.
_DECIMAL = re.compile(r"-?([0-9]+(\.[0-9]+)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"-?[0-9]+")


def parse_decimal(text: str) -> float:
    """Parse a decimal number such as 0.25, .25, -3 or 2.5e-1.

    Returns infinity for a number that is too large for a float. Raises ValueError.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text!r} is not a decimal number")
    return float(text)


def parse_whole(text: str) -> int:
    """Parse a whole number such as 10 or -3. Raises ValueError."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)
