"""Prints results as a table, JSON lines or CSV. Each row is printed as soon as it is available.

File names and responses of the service are untrusted. On a terminal, their control characters are
escaped.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from typing import Any, Generic, TypeVar

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from emotions.csv_cells import without_formulas
from emotions.errors import BadReply, KeyRefused, NotFound
from emotions.types import Analysis, Face

Item = TypeVar("Item")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

GAP = 2  # characters between two columns
MIN_WIDTH = 9  # minimum width of a flexible column on a terminal: the length of "happiness"
PIPED_WIDTH = 30  # minimum width of a flexible column when the output is not a terminal

# Control characters, line separators, marks that reverse the direction of text, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


class Failed(click.ClickException):
    """Ends the command with a message and exit status 1."""

    def show(self, file: Any = None) -> None:
        print_message(self.message)


def safe(text: object) -> str:
    """Return one line of text for a terminal, with control characters escaped as `\\x1b`."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def print_message(text: object, style: str | None = None) -> None:
    """Print a line to stderr."""
    err.print(Text(safe(text)), style=style)


def end_interrupted_line() -> None:
    """Start a new line after the `^C` that a terminal shows."""
    if err.is_terminal:
        err.print()


def message_of(error: object) -> str:
    """Return the message of an error, with the option that can fix it: --key for a rejected API
    key, --server for a response of a different server."""
    if isinstance(error, KeyRefused):
        return f"{error} (pass the API key with --key or in the variable EMOTIONS_KEY)"
    if isinstance(error, BadReply) or (isinstance(error, NotFound) and error.is_unknown_path):
        return f"{error} (check the address and its path: --server or the variable EMOTIONS_SERVER)"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


# ---------------------------------------------------------------- JSON and CSV


def print_json(document: Any) -> None:
    """Print one object on one line."""
    click.echo(json.dumps(document))


def print_csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a header and the rows. Formulas are escaped. On a terminal, control characters are
    escaped too."""
    for row in _with_head(head, rows):
        cells = [_csv_cell(value) for value in row]
        line = io.StringIO(newline="")
        csv.writer(line).writerow([safe(cell) for cell in cells] if out.is_terminal else cells)
        # Without color=True, click removes escape sequences when the output is not a terminal.
        click.echo(line.getvalue(), nl=False, color=True)


def _csv_cell(value: Any) -> Any:
    if value is None:
        return ""
    return without_formulas(value) if isinstance(value, str) else value


def _with_head(head: Item, rows: Iterable[Item]) -> Iterator[Item]:
    """Return the head and the rows. Waits for the first row, so that an error is printed without
    a head."""
    remaining = iter(rows)
    first = list(islice(remaining, 1))
    return chain([head], first, remaining)


def analysis_document(analysis: Analysis) -> dict[str, Any]:
    """Return the JSON document of an analysis. Omits persons, job and position if it has none."""
    document = asdict(replace(analysis, _ask_mood=None))
    del document["_ask_mood"]
    for name in ("persons", "job", "position_ms"):
        if not document[name] and document[name] != 0:
            del document[name]
    return {**document, "created_at": analysis.created_at.isoformat()}


def shown_emotions(face: Face, threshold: float) -> dict[str, float]:
    """Return the emotions to print for a face, with their probabilities.

    If the emotions exclude each other, this is the dominant emotion if it reaches the threshold.
    Otherwise it is every emotion that reaches the threshold.
    """
    shown = face.shown(threshold)
    if not face.exclusive:
        return shown
    return {face.dominant: shown[face.dominant]} if face.dominant in shown else {}


def joined_emotions(face: Face, analysis: Analysis, threshold: float | None = None) -> str:
    """Return the names of `shown_emotions`, separated by commas, or "" if there are none. None
    selects the threshold of the analysis."""
    limit = analysis.threshold if threshold is None else threshold
    return ", ".join(shown_emotions(face, limit))


# ---------------------------------------------------------------- tables


@dataclass(frozen=True)
class Column(Generic[Item]):
    """A column of a table. `value` returns the content of a cell; None becomes an empty cell.

    `width` is in characters. Columns without a width share the rest of the line and wrap. An
    `optional` column is omitted if the terminal is too narrow.
    """

    name: str
    value: Callable[[Item], Any]
    width: int | None = None
    optional: bool = False
    is_number: bool = False


def print_table(columns: Sequence[Column[Item]], items: Iterable[Item]) -> None:
    """Print a header and a row per item. On a terminal, rows wrap to its width. Otherwise, rows are
    neither wrapped nor truncated."""
    print_line = _print_wrapped if out.is_terminal else _print_padded
    widths = _widths(columns, out.width) if out.is_terminal else _piped_widths(columns)
    head: Sequence[Any] = [column.name for column in widths]
    style = "" if out.no_color else "bold"
    for values in _with_head(head, ([column.value(item) for column in widths] for item in items)):
        print_line(widths, ["" if value is None else safe(value) for value in values], style=style)
        style = ""


def _piped_widths(columns: Sequence[Column[Item]]) -> dict[Column[Item], int]:
    return {column: PIPED_WIDTH if column.width is None else column.width for column in columns}


def _widths(columns: Sequence[Column[Item]], total: int) -> dict[Column[Item], int]:
    """Return the columns that fit into `total` characters, with their widths."""
    remaining = list(columns)
    while True:
        flexible = [column for column in remaining if column.width is None]
        fixed = sum(column.width or 0 for column in remaining) + GAP * (len(remaining) - 1)
        optional = [column for column in remaining if column.optional]
        if not optional or total - fixed >= 2 * MIN_WIDTH * len(flexible):
            break
        remaining.remove(optional[-1])
    share = max(MIN_WIDTH, (total - fixed) // max(1, len(flexible)))
    return {column: share if column.width is None else column.width for column in remaining}


def _print_wrapped(widths: dict[Column[Item], int], cells: Sequence[str], *, style: str) -> None:
    line = Table(box=None, show_header=False, pad_edge=False, padding=(0, GAP, 0, 0))
    for column, width in widths.items():
        justify = "right" if column.is_number else "left"
        line.add_column(width=width, overflow="fold", justify=justify)  # type: ignore[arg-type]
    line.add_row(*(Text(cell, style=style) for cell in cells))
    out.print(line, soft_wrap=False)


def _print_padded(widths: dict[Column[Item], int], cells: Sequence[str], *, style: str) -> None:
    padded = []
    for (column, width), cell in zip(widths.items(), cells, strict=True):
        space = " " * (width - cell_len(cell))
        padded.append(space + cell if column.is_number else cell + space)
    click.echo((" " * GAP).join(padded).rstrip())
