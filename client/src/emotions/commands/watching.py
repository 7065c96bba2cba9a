"""`emotions watch`, which sends new images of a folder."""

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
    message_of,
    out,
    print_json,
    print_message,
    safe,
)
from emotions.commands.run import concerns_every_image
from emotions.sources import SUFFIXES
from emotions.types import Face
from emotions.watch import FAILED, SENT, Event, Watch

MAX_INTERVAL = 86_400  # seconds
MAX_PAUSE = 30.0  # seconds between two scans while the service is unreachable


@click.command("watch")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@options(*ANALYSIS)
@click.option("--state", type=click.Path(path_type=Path, dir_okay=False),
              help="state file; default: a file in FOLDER")  # fmt: skip
@click.option("--interval", type=Decimal(0.05, MAX_INTERVAL), default=1.0, show_default=True,
              help="seconds between two scans")  # fmt: skip
@click.option("--once", is_flag=True,
              help="exit after every image was sent, has failed or was postponed")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="print one JSON object per line")
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
    **analysis_options: Any,
) -> None:
    """Send the new images of FOLDER and its subfolders.

    Each image is sent once, across restarts of this command and of the service. Press Ctrl-C to
    exit.
    """
    try:
        folder_watch = Watch(folder, state)
    except sqlite3.Error as error:
        raise Failed(f"the state file cannot be used: {error}") from error
    sent_before, failed_before = folder_watch.count(SENT), folder_watch.count(FAILED)
    _print_start(folder, interval, sent_before, once=once)
    last_error, pause, scans = "", interval, 0
    try:
        while True:
            events = 0
            for event in folder_watch.scan(client, **analysis_options):
                events += 1
                if concerns_every_image(event.error):
                    raise Failed(f"stopped: {message_of(event.error)}")
                error_text = message_of(event.error) if event.error and not event.given_up else ""
                if error_text and error_text != last_error:
                    print_message(f"{error_text}; retrying", style="yellow")
                last_error = error_text
                pause = min(2 * pause, MAX_PAUSE) if error_text else interval
                _print_event(event, as_json=as_json)
            scans += 1
            if once and scans > 1 and not events:
                break
            pause = pause if events else interval  # postponed images do not delay others
            time.sleep(pause)
    except KeyboardInterrupt:
        end_interrupted_line()
    except sqlite3.Error as error:
        raise Failed(f"the state file cannot be used: {error}") from error
    finally:
        sent = folder_watch.count(SENT) - sent_before
        failed = folder_watch.count(FAILED) - failed_before
        postponed = folder_watch.postponed()
        folder_watch.close()
        suffix = f", {postponed} postponed" if postponed else ""
        print_message(f"{sent} sent, {failed} failed{suffix}")
    if once and (failed or postponed):
        raise click.exceptions.Exit(1)


def _print_start(folder: Path, interval: float, sent_before: int, *, once: bool) -> None:
    mode = "until all images are sent" if once else f"every {interval:g} s; press Ctrl-C to exit"
    print_message(
        f"watching {folder.absolute()} and its subfolders, {mode}; "
        f"{sent_before} images were sent before"
    )
    suffixes = ", ".join(sorted(SUFFIXES))
    print_message(f"skipping hidden files and files without one of these suffixes: {suffixes}")


def _print_event(event: Event, *, as_json: bool) -> None:
    if event.given_up:
        print_message(f"{event.name}: {message_of(event.error)}", style="red")
    if as_json and event.analysis:
        print_json({"path": event.name, **analysis_document(event.analysis)})
    elif as_json and event.given_up:
        print_json({"path": event.name, "error": message_of(event.error)})
    elif event.analysis:
        threshold = event.analysis.threshold
        emotions = ", ".join(_emotion(face, threshold) for face in event.analysis.faces)
        out.print(safe(f"{event.name}: {emotions or 'no face'}"), markup=False)


def _emotion(face: Face, threshold: float) -> str:
    if face.exclusive:
        return face.dominant
    return " and ".join(face.shown(threshold)) or "undecided"
