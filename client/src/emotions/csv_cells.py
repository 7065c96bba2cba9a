"""Escapes text for CSV, so that spreadsheets do not evaluate it as a formula.

The service has the same code in app/api/csv_cells.py. A test compares the two.
"""

import unicodedata

# Characters that begin a formula or an old DDE command. Spreadsheets treat some full-width and
# small forms like the ASCII ones.
FORMULA_STARTS = frozenset("=+-@|%＝＋－＠｜％﹦﹢﹣﹫﹪⁼⁺⁻₌₊₋−")
# The person who opens the file chooses the separator of columns.
SEPARATORS = frozenset(",;|\t\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
_LINE_STARTS = ("\t", "\n", "\r")
_QUOTES = '"\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}'
# Spaces, control and invisible characters, marks without a letter, and unknown characters.
_IGNORED_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Me", "Mn", "Zl", "Zp", "Zs"})
_BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"


def without_formulas(text: str) -> str:
    """`text` with an apostrophe before each place where a cell could begin with a formula: at the
    start and after a separator, whatever spaces, invisible characters and quotes come first."""
    parts: list[str] = []
    copied = 0  # characters of `text` that are in `parts` already
    cell: int | None = 0  # where the current cell begins; None after its first visible character
    if text.startswith(_LINE_STARTS):
        parts.append("'")
    for index, character in enumerate(text):
        if cell is not None and character in FORMULA_STARTS:
            parts += (text[copied:cell], "'")
            copied, cell = cell, None
        if character in SEPARATORS:
            cell = index + 1
        elif not _ignored(character):
            cell = None
    return "".join((*parts, text[copied:]))


def _ignored(character: str) -> bool:
    return (
        character in _QUOTES
        or character in _BLANK_LETTERS
        or unicodedata.category(character) in _IGNORED_CATEGORIES
    )
