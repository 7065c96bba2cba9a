"""Escapes text for CSV, so that spreadsheets do not evaluate it as a formula.

The service has the same code in app/api/csv_cells.py. A test compares the two.
"""

import unicodedata

# Characters that begin a formula or an old DDE command. Spreadsheets treat some full-width and
# small forms like the ASCII characters.
FORMULA_STARTS = frozenset("=+-@|%＝＋－＠｜％﹦﹢﹣﹫﹪⁼⁺⁻₌₊₋−")
# Spreadsheets let the user choose the separator of columns, so each of these may start a cell.
SEPARATORS = frozenset(",;|\t\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
# OWASP lists these as characters that may begin a formula ("CSV Injection").
_LINE_STARTS = ("\t", "\n", "\r")
_QUOTES = '"\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}'
# Spaces, control and invisible characters, marks without a letter, and unknown characters.
_IGNORED_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Me", "Mn", "Zl", "Zp", "Zs"})
_BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"


def without_formulas(text: str) -> str:
    """Insert an apostrophe at each position where a cell could begin with a formula.

    A cell can begin at the start of `text` and after each separator. It begins with a formula if
    its first character is a formula character. Spaces, invisible characters and quotes before this
    character are ignored.
    """
    parts: list[str] = []
    copied_until = 0
    cell_start: int | None = 0  # None after the first visible character of the cell
    if text.startswith(_LINE_STARTS):
        parts.append("'")
    for index, character in enumerate(text):
        if cell_start is not None and character in FORMULA_STARTS:
            parts += (text[copied_until:cell_start], "'")
            copied_until, cell_start = cell_start, None
        if character in SEPARATORS:
            cell_start = index + 1
        elif not _is_ignored(character):
            cell_start = None
    return "".join((*parts, text[copied_until:]))


def _is_ignored(character: str) -> bool:
    return (
        character in _QUOTES
        or character in _BLANK_LETTERS
        or unicodedata.category(character) in _IGNORED_CATEGORIES
    )
