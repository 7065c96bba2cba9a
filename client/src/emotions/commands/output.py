"""Print results as a table, JSON lines or CSV, each row as soon as it is known.

Names of files and answers of the service are untrusted: on a terminal they are printed without
control characters.
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
NARROWEST = 9  # characters of a flexible column; "happiness" fits
PIPED_WIDTH = 30  # characters that a flexible column is padded to where nothing is a terminal

# Control characters, line separators, marks that reverse the direction of text, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


class Failed(click.ClickException):
    """Ends the command with a message and exit status 1."""

    def show(self, file: Any = None) -> None:
        say(self.message)


def safe(text: object) -> str:
    """Return text for a terminal: one line, with control characters as escapes such as `\\x1b`."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def say(text: object, style: str | None = None) -> None:
    """Print a line to stderr."""
    err.print(Text(safe(text)), style=style)


def end_interrupted_line() -> None:
    """Begin a new line after the `^C` that a terminal shows."""
    if err.is_terminal:
        err.print()


def sentence(error: object) -> str:
    """Return what went wrong, and the option that helps: --key for a rejected API key, --server
    for an address at which something else answers."""
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
    """Print a header and a row per item, without formulas; on a terminal also without control
    characters."""
    for row in _begun(head, rows):
        cells = ["" if it is None else without_formulas(it) if isinstance(it, str) else it
                 for it in row]  # fmt: skip
        line = io.StringIO(newline="")
        csv.writer(line).writerow([safe(cell) for cell in cells] if out.is_terminal else cells)
        click.echo(line.getvalue(), nl=False, color=True)  # with color, it removes no characters


def _begun(head: Item, rows: Iterable[Item]) -> Iterator[Item]:
    """The head and the rows. Waits for the first row, so that nothing is printed if that fails."""
    remaining = iter(rows)
    first = list(islice(remaining, 1))
    return chain([head], first, remaining)


def analysis_document(image: Analysis) -> dict[str, Any]:
    """Return the analysis as JSON, without persons and the place in a video where it has none."""
    document = asdict(replace(image, _ask_mood=None))
    del document["_ask_mood"]
    for name in ("persons", "job", "position_ms"):
        if not document[name] and document[name] != 0:
            del document[name]
    return {**document, "created_at": image.created_at.isoformat()}


def shown_emotions(face: Face, threshold: float) -> dict[str, float]:
    """Return the emotions to print for a face, with their probabilities: of exclusive emotions the
    dominant one if it reaches the threshold, otherwise all that reach it."""
    shown = face.shown(threshold)
    if not face.exclusive:
        return shown
    return {face.dominant: shown[face.dominant]} if face.dominant in shown else {}


# ---------------------------------------------------------------- tables


@dataclass(frozen=True)
class Column(Generic[Item]):
    """A column of a table. `value` returns the text of its cell; None and "" stay empty.

    `width` is in characters. Columns without a width share the rest of the line and fold. An
    `optional` column is left out where the terminal is too narrow.
    """

    name: str
    value: Callable[[Item], Any]
    width: int | None = None
    optional: bool = False
    is_number: bool = False


def print_table(columns: Sequence[Column[Item]], items: Iterable[Item]) -> None:
    """Print a header and a row per item, on a terminal as wide as it is, elsewhere uncut."""
    print_line = _print_folded if out.is_terminal else _print_uncut
    widths = _widths(columns, out.width) if out.is_terminal else dict.fromkeys(columns, PIPED_WIDTH)
    for column in widths:
        if column.width is not None:
            widths[column] = column.width
    head: Sequence[Any] = [column.name for column in widths]
    style = "" if out.no_color else "bold"
    for values in _begun(head, ([column.value(item) for column in widths] for item in items)):
        print_line(widths, ["" if value is None else safe(value) for value in values], style=style)
        style = ""


def _widths(columns: Sequence[Column[Item]], total: int) -> dict[Column[Item], int]:
    """The columns that fit into `total` characters, with their widths."""
    shown = list(columns)
    while True:
        flexible = [column for column in shown if column.width is None]
        fixed = sum(column.width or 0 for column in shown) + GAP * (len(shown) - 1)
        optional = [column for column in shown if column.optional]
        if not optional or total - fixed >= 2 * NARROWEST * len(flexible):
            break
        shown.remove(optional[-1])
    share = max(NARROWEST, (total - fixed) // max(1, len(flexible)))
    return {column: share if column.width is None else column.width for column in shown}


def _print_folded(widths: dict[Column[Item], int], cells: Sequence[str], *, style: str) -> None:
    line = Table(box=None, show_header=False, pad_edge=False, padding=(0, GAP, 0, 0))
    for column, width in widths.items():
        justify = "right" if column.is_number else "left"
        line.add_column(width=width, overflow="fold", justify=justify)  # type: ignore[arg-type]
    line.add_row(*(Text(cell, style=style) for cell in cells))
    out.print(line, soft_wrap=False)


def _print_uncut(widths: dict[Column[Item], int], cells: Sequence[str], *, style: str) -> None:
    padded = []
    for (column, width), cell in zip(widths.items(), cells, strict=True):
        space = " " * (width - cell_len(cell))
        padded.append(space + cell if column.is_number else cell + space)
    click.echo((" " * GAP).join(padded).rstrip())
