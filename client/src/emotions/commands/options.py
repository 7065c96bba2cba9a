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
                 help="minimum probability of a shown emotion"),
    click.option("--pipeline", help="pipeline (see `emotions pipelines`)"),
    click.option("--model", help="model (see `emotions models`)"),
    click.option("--detector",
                 help="face detector (see `emotions detectors`); none: the image is one face; "
                 "default: the detector that the service recommends"),
    click.option("--rotate", type=click.Choice(["none", "auto"]),
                 help="auto: also try other orientations if no face is detected"),
    click.option("--min-face-px", type=Decimal(),
                 help="minimum length of a face's longer side, in pixels"),
    click.option("--min-confidence", type=Decimal(0, 1),
                 help="minimum detection score of a face"),
    click.option("--workers", type=Whole(1, 64), default=4, show_default=True,
                 help="number of concurrent requests"),
)  # fmt: skip
FILTERS = (
    click.option("--emotion", help="dominant emotion of a face"),
    click.option("--min-probability", type=Decimal(0, 1),
                 help="minimum probability of --emotion, or of any emotion without --emotion"),
    click.option("--file-name", help="exact file name"),
    click.option("--model", help="name of the model"),
    click.option("--since", help="earliest time (inclusive), for example 2026-11-23T08:00:00Z"),
    click.option("--until", help="latest time (exclusive)"),
    click.option("--min-faces", type=Whole(0), help="minimum number of faces in the image"),
)  # fmt: skip


def options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a decorator that adds several options to a command, in order."""

    def decorate(command: Any) -> Any:
        for option in reversed(decorators):
            command = option(command)
        return command

    return decorate
