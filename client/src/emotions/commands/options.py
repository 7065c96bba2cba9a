"""Options that several commands share."""

from collections.abc import Callable
from typing import Any

import click

from emotions.commands.numbers import Decimal, Whole

FORMAT = click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table",
    show_default=True, help="json prints one object per line",
)  # fmt: skip
ANALYSIS = (
    click.option("--threshold", type=Decimal(0, 1),
                 help="lowest probability of an emotion that is shown"),
    click.option("--pipeline", help="see `emotions pipelines`"),
    click.option("--model", help="see `emotions models`"),
    click.option("--detector", help="see `emotions detectors`"),
    click.option("--rotate", type=click.Choice(["none", "auto"]),
                 help="auto: turn images in which no face is found"),
    click.option("--min-face-px", type=Decimal(),
                 help="smallest face, in pixels of its longer side"),
    click.option("--min-confidence", type=Decimal(0, 1),
                 help="lowest detection score of a face"),
    click.option("--workers", type=Whole(1, 64), default=4, show_default=True,
                 help="images sent at the same time"),
)  # fmt: skip
FILTERS = (
    click.option("--emotion", help="a face's most probable emotion"),
    click.option("--min-probability", type=Decimal(0, 1),
                 help="lowest probability of --emotion, or of any emotion"),
    click.option("--file-name", help="exact file name"),
    click.option("--model", help="classifier that was used"),
    click.option("--since", help="first time that is included, as 2026-11-23T08:00:00Z"),
    click.option("--until", help="first time that is not included"),
    click.option("--min-faces", type=Whole(0), help="lowest number of faces"),
)  # fmt: skip


def options(*every: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a decorator that adds all of these options, in their order."""

    def decorate(command: Any) -> Any:
        for option in reversed(every):
            command = option(command)
        return command

    return decorate
