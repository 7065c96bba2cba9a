"""The result of an attack, and the table of all results."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from testbed.markdown import table

HEAD = ["attack", "tried", "measured", "bar", "result"]


class Skip(Exception):
    """The attack cannot run on this machine; the message says what it needs."""


@dataclass(frozen=True)
class Result:
    """`tried` counts requests or connections of the attack. `held` is None for an attack that was
    not run; then `measured` says why."""

    attack: str
    tried: int
    measured: str
    bar: str
    held: bool | None

    @property
    def word(self) -> str:
        return {True: "held", False: "BROKEN", None: "not run"}[self.held]


# An attack yields a result for each of its variants. `quick` asks for a shorter run.
Attack = Callable[[bool], Iterator[Result]]


def markdown(results: Iterable[Result]) -> str:
    rows = [
        [it.attack, f"{it.tried:,}" if it.tried else "", it.measured, it.bar, it.word]
        for it in results
    ]
    return table(HEAD, rows)


def counted(statuses: Iterable[int]) -> str:
    """Count statuses, as in "5 × 201, 3 × 503". Status 0 means no answer."""
    seen = sorted(statuses)
    return ", ".join(
        f"{seen.count(status)} × {status or 'no answer'}" for status in dict.fromkeys(seen)
    )
