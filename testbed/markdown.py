"""Markdown tables and replaceable blocks of the pages that programs write."""

from collections.abc import Mapping


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def percent(share: float | None) -> str:
    """A share in percent with one decimal, or "–" for None."""
    return "–" if share is None else f"{100 * share:.1f} %"


def block(text: str, name: str) -> str:
    """The block that `renew` replaces, with its markers; empty if `text` does not have it."""
    _, start, rest = text.partition(f"<!-- {name} -->")
    inside, end, _ = rest.partition(f"<!-- /{name} -->")
    return f"{start}{inside}{end}" if end else ""


def renew(text: str, blocks: Mapping[str, str]) -> str:
    """Replace each block between `<!-- name -->` and `<!-- /name -->` in `text`.

    Blocks that `text` does not have are ignored.
    """
    for name, block in blocks.items():
        before, start, rest = text.partition(f"<!-- {name} -->")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if end:
            text = f"{before}{start}\n{block}\n{end}{after}"
    return text
