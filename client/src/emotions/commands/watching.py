"""`emotions watch`: send the images of a folder as they appear."""

import sqlite3
import time
from pathlib import Path
from typing import Any

import click

from emotions.client import EmotionClient
from emotions.commands.numbers import Decimal
from emotions.commands.options import ANALYSIS, options
from emotions.commands.output import (
    Failed,
    analysis_document,
    end_interrupted_line,
    out,
    print_json,
    safe,
    say,
    sentence,
)
from emotions.errors import EmotionError, InvalidRequest, KeyRefused, NotAllowed
from emotions.sources import SUFFIXES
from emotions.types import Face
from emotions.watch import FAILED, SENT, Event, Watch

LONGEST_INTERVAL = 86_400  # seconds
LONGEST_PAUSE = 30.0  # seconds between two looks while the service is away


@click.command("watch")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@options(*ANALYSIS)
@click.option("--state", type=click.Path(path_type=Path, dir_okay=False),
              help="file that records what was sent; in FOLDER unless given")  # fmt: skip
@click.option("--interval", type=Decimal(0.05, LONGEST_INTERVAL), default=1.0, show_default=True,
              help="seconds between two looks")  # fmt: skip
@click.option("--once", is_flag=True,
              help="end when every image was sent or is left for later")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="print one object per image and line")
@click.pass_obj
def watch(
    client: EmotionClient,
    /,
    *,
    folder: Path,
    state: Path | None,
    interval: float,
    once: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Send the images of FOLDER and its subfolders as they appear.

    Each image is sent once, across restarts of this command and of the service. Ctrl-C ends it.
    """
    try:
        seen = Watch(folder, state)
    except sqlite3.Error as error:
        raise Failed(f"the record of what was sent cannot be used: {error}") from error
    before = seen.count(SENT), seen.count(FAILED)
    how = "until all images are sent" if once else f"every {interval:g} s; Ctrl-C ends"
    say(f"watching {folder.absolute()} and its subfolders, {how}; {before[0]} images sent before")
    suffixes = ", ".join(sorted(SUFFIXES))
    say(f"hidden files and files without one of these suffixes are skipped: {suffixes}")
    trouble, pause, looks = "", interval, 0
    try:
        while True:
            events = 0
            for event in seen.look(client, **asked):
                events += 1
                if _is_final(event.error):
                    raise Failed(f"stopped: {sentence(event.error)}")
                why = sentence(event.error) if event.error and not event.given_up else ""
                if why and why != trouble:
                    say(f"{why}; trying again", style="yellow")
                trouble = why
                pause = min(2 * pause, LONGEST_PAUSE) if why else interval
                _report(event, as_json=as_json)
            looks += 1
            if once and looks > 1 and not events:
                break
            pause = pause if events else interval  # images left for later do not delay others
            time.sleep(pause)
    except KeyboardInterrupt:
        end_interrupted_line()
    except sqlite3.Error as error:
        raise Failed(f"the record of what was sent cannot be used: {error}") from error
    finally:
        sent, failed = seen.count(SENT) - before[0], seen.count(FAILED) - before[1]
        left = seen.deferred()
        seen.close()
        say(f"{sent} sent, {failed} given up" + (f", {left} left for later" if left else ""))
    if once and (failed or left):
        raise click.exceptions.Exit(1)


def _is_final(error: EmotionError | None) -> bool:
    """Whether every image is refused for the same reason."""
    is_option = isinstance(error, InvalidRequest) and error.concerns_every_image
    return is_option or isinstance(error, KeyRefused | NotAllowed)


def _report(event: Event, *, as_json: bool) -> None:
    if event.given_up:
        say(f"{event.name}: {sentence(event.error)}", style="red")
    if as_json and event.analysis:
        print_json({"path": event.name, **analysis_document(event.analysis)})
    elif as_json and event.given_up:
        print_json({"path": event.name, "error": sentence(event.error)})
    elif event.analysis:
        threshold = event.analysis.threshold
        found = ", ".join(_emotion(face, threshold) for face in event.analysis.faces) or "no face"
        out.print(safe(f"{event.name}: {found}"), markup=False)


def _emotion(face: Face, threshold: float) -> str:
    if face.exclusive:
        return face.dominant
    return " and ".join(face.shown(threshold)) or "undecided"
