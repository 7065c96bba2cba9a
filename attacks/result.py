"""The result of an attack, and the table of all results."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from testbed.markdown import table

HEAD = ["attack", "requests", "measured", "criterion", "result"]


class Skip(Exception):
    """The attack cannot run on this machine. The message names the missing requirement."""


@dataclass(frozen=True)
class Result:
    """The result of one attack.

    `requests` counts requests or connections of the attack. `passed` is None for an attack that did
    not run; `measured` then has the reason.
    """

    attack: str
    requests: int
    measured: str
    criterion: str
    passed: bool | None

    @property
    def word(self) -> str:
        """The result in the table."""
        return {True: "passed", False: "FAILED", None: "not run"}[self.passed]


# An attack yields a result for each of its variants. The argument `quick` selects a shorter run.
Attack = Callable[[bool], Iterator[Result]]


def markdown(results: Iterable[Result]) -> str:
    """The table of results."""
    rows = [
        [
            each.attack,
            f"{each.requests:,}" if each.requests else "",
            each.measured,
            each.criterion,
            each.word,
        ]
        for each in results
    ]
    return table(HEAD, rows)


def counted(statuses: Iterable[int]) -> str:
    """Count statuses, as in "5 × 201, 3 × 503". Status 0 means no answer."""
    ordered = sorted(statuses)
    return ", ".join(
        f"{ordered.count(status)} × {status or 'no answer'}" for status in dict.fromkeys(ordered)
    )
