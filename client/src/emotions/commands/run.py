"""Sends many images for a command: progress, failed images, and errors that end the command."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from emotions.client import EmotionClient
from emotions.commands.folders import Found
from emotions.commands.output import (
    Failed,
    end_interrupted_line,
    err,
    message_of,
    out,
    print_message,
)
from emotions.errors import EmotionError, InvalidRequest, KeyRefused, NotAllowed, ServiceUnreachable
from emotions.outcomes import Outcome
from emotions.types import Analysis

MIN_IMAGES_FOR_PROGRESS = 3


class Run:
    """Sends many images, and lists the failed ones at the end of the `with` block.

    It stops after an error that every other image would cause too: the service is unreachable, the
    API key is rejected, or an option is invalid. Raises Failed if there are no images or if an
    image or a folder failed.
    """

    def __init__(
        self, client: EmotionClient, found: Found, analysis_options: dict[str, Any]
    ) -> None:
        self.failed = [(path, message_of(error)) for path, error in found.unreadable]
        self._images = found.images
        self._unreadable = len(found.unreadable)
        if found.skipped:
            print_message(found.skipped_message())
        if found.hidden:
            print_message(found.hidden_message())
        if not found.images and not found.unreadable:
            raise Failed("no images found")
        self._outcomes = client.analyse_many(found.images, **analysis_options)
        self._done = 0

    def analysed(self) -> Iterator[tuple[Path, Analysis]]:
        """Yield the images that the service analysed, in order."""
        with closing(self._outcomes):
            for outcome in _with_progress(self._outcomes, len(self._images)):
                self._done += 1
                if outcome.analysis is not None:
                    yield outcome.source, outcome.analysis
                    continue
                self.failed.append((outcome.source, message_of(outcome.error)))
                is_unreachable = isinstance(outcome.error, ServiceUnreachable)
                if is_unreachable or concerns_every_image(outcome.error):
                    return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and not issubclass(kind, KeyboardInterrupt):
            return
        if kind is not None:
            end_interrupted_line()
        for path, reason in self.failed:
            print_message(f"{path}: {reason}", style="red")
        total = len(self._images)
        if kind is not None:
            print_message(f"interrupted: {self._done} of {total} images were processed")
        elif self.failed:
            remaining = total - self._done
            skipped = f", {remaining} were skipped" if remaining else ""
            folders = f", {self._unreadable} folders cannot be read" if self._unreadable else ""
            images = len(self.failed) - self._unreadable
            raise Failed(f"{images} of {total} images failed{skipped}{folders}")


def concerns_every_image(error: EmotionError | None) -> bool:
    """Return True for an error of the API key or of an option, which every image would cause."""
    is_option = isinstance(error, InvalidRequest) and error.concerns_every_image
    return is_option or isinstance(error, KeyRefused | NotAllowed)


def _with_progress(outcomes: Iterator[Outcome[Path]], total: int) -> Iterator[Outcome[Path]]:
    # The rows of results on the same terminal show the progress, and would break the bar.
    is_hidden = total < MIN_IMAGES_FOR_PROGRESS or not err.is_terminal or out.is_terminal
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=err, transient=True, disable=is_hidden,
    )  # fmt: skip
    with bar:
        task = bar.add_task("images", total=total)
        for outcome in outcomes:
            yield outcome
            bar.advance(task)
