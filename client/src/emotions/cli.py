"""The command `emotions`.

Exit status: 0 all is well, 1 something failed (and was named), 2 the command itself is wrong.
"""

import csv
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

try:
    import click
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining
    from rich.table import Table
except ImportError:  # the library alone does without them
    sys.exit("the command needs click and rich: pip install 'emotions-client[cli]'")

from emotions.client import EmotionClient, Outcome
from emotions.csv_cells import without_formulas
from emotions.errors import EmotionError, KeyRefused, NotAllowed, ServiceAway
from emotions.types import Analysis, Mood
from emotions.watch import FAILED, SENT, SUFFIXES, Watch

WIDE = 1000  # characters of a line that is not for a screen: nothing is cut
out = Console(highlight=False, soft_wrap=True)
if not out.is_terminal:
    out.width = WIDE
err = Console(stderr=True, highlight=False, soft_wrap=True)
MANY = 3  # pictures: from so many on, progress is shown
FUTILE = (KeyRefused, NotAllowed, ServiceAway)  # for the next picture too
LONGEST_WAIT = 30.0  # seconds between two looks while the service is away

FORMAT = click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table",
    show_default=True, help="json: an object a line",
)  # fmt: skip
ANALYSIS = (
    click.option("--threshold", type=click.FloatRange(0, 1), help="show emotions from here on"),
    click.option("--pipeline", help="as `two_stage` or `single_shot`"),
    click.option("--model", help="which classifier"),
    click.option("--detector", help="which face detector"),
    click.option("--min-face-px", type=float, help="leave out smaller faces"),
    click.option("--min-confidence", type=click.FloatRange(0, 1), help="leave out less sure ones"),
    click.option("--workers", type=click.IntRange(1, 64), default=4, show_default=True,
                 help="pictures at a time"),
)  # fmt: skip
FILTERS = (
    click.option("--emotion", help="faces that show it most, or so likely as asked"),
    click.option("--min-probability", type=click.FloatRange(0, 1)),
    click.option("--file-name", help="this name"),
    click.option("--model", help="by this model"),
    click.option("--since", help="from this time on, as 2026-11-23T08:00:00Z"),
    click.option("--until", help="before this time"),
    click.option("--min-faces", type=click.IntRange(0), help="images with so many faces"),
)


def options(*every: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for option in reversed(every):
            command = option(command)
        return command

    return decorate


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--server", default="http://127.0.0.1:5000", envvar="EMOTIONS_SERVER", show_default=True,
    show_envvar=True, help="where the service is",
)  # fmt: skip
@click.option("--key", envvar="EMOTIONS_KEY", show_envvar=True, help="where it asks for one")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="seconds")
@click.version_option(package_name="emotions-client")
@click.pass_context
def main(context: click.Context, server: str, key: str | None, timeout: float) -> None:
    """Emotions in faces, by a service of your own."""
    try:
        client = EmotionClient(server, key, timeout=(5.0, timeout))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--server") from error
    context.obj = context.with_resource(client)


class Failed(click.ClickException):
    """Printed as it is, exit status 1."""

    def show(self, file: Any = None) -> None:
        err.print(self.message, markup=False)


# ---------------------------------------------------------------- analyse


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@options(*ANALYSIS)
@click.option("--no-store", is_flag=True, help="keep nothing in the service")
@click.option("--save-annotated", type=click.Path(path_type=Path, file_okay=False),
              help="folder for pictures with boxes")  # fmt: skip
@FORMAT
@click.pass_obj
def analyse(
    client: EmotionClient,
    /,
    paths: Sequence[Path],
    no_store: bool,
    save_annotated: Path | None,
    form: str,
    **asked: Any,
) -> None:
    """Analyse pictures, and all pictures below folders. A picture that fails does not stop the
    others: which ones did is said at the end."""
    pictures = list(_pictures(paths))
    if not pictures:
        raise Failed("no pictures there")
    run = Run(client, pictures, {**asked, "store": not no_store})

    def shown() -> Iterator[tuple[str, Analysis]]:
        for path, found in run.answered():
            if save_annotated:
                try:
                    _save(client, save_annotated / _beside(path, paths), path, asked)
                except (EmotionError, OSError) as error:
                    run.failed.append((path, _sentence(error)))
                    continue
            yield str(path), found

    _show(shown(), form, asked["threshold"])
    run.end()


class Run:
    """Many pictures under way: those that are answered, and what to say at the end of the others.

    A picture that fails does not stop the others, but where nobody answers or lets us in, it ends.
    """

    def __init__(
        self, client: EmotionClient, pictures: Sequence[Path], asked: dict[str, Any]
    ) -> None:
        self.failed: list[tuple[Path, str]] = []
        self._pictures = pictures
        self._outcomes = client.analyse_many(pictures, **asked)
        self._seen = 0

    def answered(self) -> Iterator[tuple[Path, Analysis]]:
        with closing(self._outcomes):
            for outcome in _with_progress(self._outcomes, len(self._pictures)):
                self._seen += 1
                if outcome.analysis is not None:
                    yield outcome.source, outcome.analysis
                    continue
                self.failed.append((outcome.source, _sentence(outcome.error)))
                if isinstance(outcome.error, FUTILE):
                    return

    def end(self) -> None:
        """Raises Failed where something failed."""
        for path, why in self.failed:
            err.print(f"{path}: {why}", markup=False, style="red")
        if self.failed:
            total, left = len(self._pictures), len(self._pictures) - self._seen
            others = f", {left} were not tried" if left else ""
            raise Failed(f"{len(self.failed)} of {total} pictures failed{others}")


def _pictures(paths: Sequence[Path]) -> Iterator[Path]:
    """Files as they are named, folders by their pictures."""
    for path in paths:
        if path.is_dir():
            for found in sorted(path.rglob("*")):
                if found.suffix.lower() in SUFFIXES and found.is_file():
                    yield found
        else:
            yield path


def _with_progress(outcomes: Iterator[Outcome[Path]], total: int) -> Iterator[Outcome[Path]]:
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining(),
        console=err, transient=True, disable=total < MANY or not err.is_terminal,
    )  # fmt: skip
    with bar:
        task = bar.add_task("pictures", total=total)
        for outcome in outcomes:
            yield outcome
            bar.advance(task)


def _beside(path: Path, roots: Sequence[Path]) -> Path:
    """Where the annotated picture goes: as the picture lies below the folder that was named."""
    root = next((root for root in roots if root.is_dir() and root in path.parents), path.parent)
    relative = path.relative_to(root)
    return relative.with_name(f"{relative.name}.png")


def _save(client: EmotionClient, target: Path, path: Path, asked: dict[str, Any]) -> None:
    options = {name: value for name, value in asked.items() if name != "workers"}
    drawn = client.annotated(path, **options, store=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(drawn.data)


# ---------------------------------------------------------------- watch, live


@main.command("watch")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@options(*ANALYSIS)
@click.option("--state", type=click.Path(path_type=Path, dir_okay=False),
              help="file that knows what was sent; in FOLDER unless given")  # fmt: skip
@click.option("--interval", type=click.FloatRange(0.05), default=1.0, show_default=True,
              help="seconds between two looks")  # fmt: skip
@click.option("--once", is_flag=True,
              help="end when everything that is there was sent, or is left for later")  # fmt: skip
@click.pass_obj
def watch_folder(
    client: EmotionClient,
    /,
    folder: Path,
    state: Path | None,
    interval: float,
    once: bool,
    **asked: Any,
) -> None:
    """Push the pictures of FOLDER, and of the folders in it, as they appear: each once, whatever is
    restarted meanwhile."""
    try:
        seen = Watch(folder, state)
    except sqlite3.Error as error:
        raise Failed(f"what was sent cannot be written down: {error}") from error
    before = seen.count(SENT), seen.count(FAILED)
    trouble, pause, looks = "", interval, 0
    try:
        while True:
            events = 0
            for event in seen.look(client, **asked):
                events += 1
                why = _sentence(event.error) if event.error and not event.given_up else ""
                if why and why != trouble:
                    err.print(f"{why}; trying again", markup=False, style="yellow")
                trouble = why
                pause = min(2 * pause, LONGEST_WAIT) if why else interval
                if isinstance(event.error, KeyRefused | NotAllowed):
                    raise Failed("stopped: the key does not do")
                if event.given_up:
                    err.print(f"{event.name}: {_sentence(event.error)}", markup=False, style="red")
                elif event.analysis:
                    out.print(f"{event.name}: {_in_a_line(event.analysis)}", markup=False)
            looks += 1
            if once and looks > 1 and not events:
                break
            pause = pause if events else interval  # pictures that are for later hold up no others
            time.sleep(pause)
    except KeyboardInterrupt:
        pass
    except sqlite3.Error as error:
        raise Failed(f"what was sent cannot be written down: {error}") from error
    finally:
        sent, failed = seen.count(SENT) - before[0], seen.count(FAILED) - before[1]
        left = seen.deferred()
        seen.close()
        err.print(f"{sent} sent, {failed} given up" + (f", {left} left for later" if left else ""))
    if once and (failed or left):
        raise click.exceptions.Exit(1)


@main.command()
@click.option("--camera", type=int, default=0, show_default=True, help="its number")
@click.option("--pipeline", default="single_shot", show_default=True)
@click.option("--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True)
@click.pass_obj
def live(client: EmotionClient, camera: int, pipeline: str, threshold: float) -> None:
    """The camera with boxes, in a window; q ends it. Nothing is stored."""
    try:
        import cv2  # noqa: PLC0415 - its windows are no part of the package
    except ImportError as error:
        raise Failed("this needs OpenCV with its windows: pip install opencv-python") from error
    video = cv2.VideoCapture(camera)
    try:
        if not video.isOpened():
            raise Failed(f"camera {camera} cannot be opened")
        while True:
            there, frame = video.read()
            if not there:
                raise Failed("the camera gives no pictures any more")
            _, jpeg = cv2.imencode(".jpg", frame)
            found = client.analyse(jpeg.tobytes(), pipeline=pipeline, store=False)
            for face in found.faces:
                x1, y1, x2, y2 = (round(value) for value in face.box_xyxy)
                probability = face.emotions[face.dominant]
                label = f"{face.dominant} {probability:.0%}" if probability >= threshold else ""
                cv2.rectangle(frame, (x1, y1), (x2, y2), (0, 159, 230), 2)
                cv2.putText(frame, label, (x1, max(16, y1 - 6)), cv2.FONT_HERSHEY_SIMPLEX, 0.6,
                            (255, 255, 255), 2)  # fmt: skip
            cv2.imshow("emotions", frame)
            if cv2.waitKey(1) & 0xFF == ord("q"):
                return
    except cv2.error as error:
        raise Failed(
            "this OpenCV has no windows: pip uninstall opencv-python-headless, "
            "then pip install opencv-python"
        ) from error
    except EmotionError as error:
        raise Failed(_sentence(error)) from error
    finally:
        video.release()


# ---------------------------------------------------------------- what is stored


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@options(*ANALYSIS)
@click.option("--by", "aggregator", default="quality", show_default=True,
              help="how faces count: `mean`, `vote`, …")  # fmt: skip
@click.option("--no-store", is_flag=True, help="keep nothing in the service")
@FORMAT
@click.pass_obj
def mood(
    client: EmotionClient,
    /,
    paths: Sequence[Path],
    aggregator: str,
    no_store: bool,
    form: str,
    **asked: Any,
) -> None:
    """The mood of the group in each picture."""
    run = Run(client, list(_pictures(paths)), {**asked, "store": not no_store, "mood": aggregator})

    def moods() -> Iterator[tuple[str, Mood]]:
        for path, found in run.answered():
            if found.group is None:
                run.failed.append((path, "this service knows no moods"))
            else:
                yield str(path), found.group

    if form == "json":
        for name, its in moods():
            click.echo(json.dumps({"path": name, **asdict(its)}))
    else:
        head = ["file", "mood", "agreement", "faces", "positive", "neutral", "negative"]
        _print_rows(head, (_mood_row(name, its) for name, its in moods()), form)
    run.end()


def _mood_row(name: str, its: Mood) -> list[Any]:
    shares = [f"{its.valence.get(kind, 0):.2f}" for kind in ("positive", "neutral", "negative")]
    agreement = "" if its.agreement is None else f"{its.agreement:.2f}"
    return [name, its.mood or "none", agreement, len(its.weights), *shares]


@main.command()
@options(*FILTERS)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@FORMAT
@click.pass_obj
def history(client: EmotionClient, /, limit: int, form: str, **filters: Any) -> None:
    """Stored images, newest first."""
    found = client.images(**filters, page_size=min(limit, 100))
    named = ((image.file_name, image) for _, image in zip(range(limit), found, strict=False))
    try:
        _show(named, form, None)
    except EmotionError as error:
        raise Failed(_sentence(error)) from error


@main.command()
@options(*FILTERS)
@click.option("--by", type=click.Choice(["hour", "day", "model"]), default="day", show_default=True)
@FORMAT
@click.pass_obj
def summary(client: EmotionClient, /, by: str, form: str, **filters: Any) -> None:
    """How many faces showed what, by the hour, the day (UTC) or the model."""
    try:
        spans = client.summary(by, **filters)
    except EmotionError as error:
        raise Failed(_sentence(error)) from error
    if form == "json":
        for span in spans:
            click.echo(json.dumps(asdict(span)))
        return
    emotions = list(dict.fromkeys(name for span in spans for name in span.emotions))
    head = [by, "images", "faces", *emotions]
    rows = [
        [span.span, span.images, span.faces]
        + [span.emotions[name].faces if name in span.emotions else 0 for name in emotions]
        for span in spans
    ]
    _print_rows(head, rows, form)


@main.command()
@click.argument("ids", nargs=-1, required=True, type=click.IntRange(1))
@click.pass_obj
def delete(client: EmotionClient, ids: Sequence[int]) -> None:
    """Erase stored images by their numbers."""
    failed = 0
    for image_id in ids:
        try:
            client.delete(image_id)
            out.print(f"erased {image_id}")
        except EmotionError as error:
            failed += 1
            err.print(f"{image_id}: {_sentence(error)}", markup=False, style="red")
    if failed:
        raise click.exceptions.Exit(1)


# ---------------------------------------------------------------- showing


def _show(named: Iterator[tuple[str, Analysis]], form: str, threshold: float | None) -> None:
    if form == "json":
        for name, image in named:
            click.echo(json.dumps({"path": name, **_document(image)}))
        return
    head = ["file", "image", "face", "emotion", "probability", "x1", "y1", "x2", "y2"]
    rows = (row for name, image in named for row in _rows(name, image, threshold))
    _print_rows(head, rows, form)


def _rows(name: str, image: Analysis, threshold: float | None) -> Iterator[list[Any]]:
    if not image.faces:
        yield [name, image.id, "none", "", "", "", "", "", ""]
    limit = image.threshold if threshold is None else threshold
    for face in image.faces:
        probability = face.emotions[face.dominant]
        shown = face.dominant if probability >= limit else ""
        box = [round(value) for value in face.box_xyxy]
        yield [name, image.id, face.face_id, shown, f"{probability:.2f}", *box]


def _print_rows(head: Sequence[str], rows: Any, form: str) -> None:
    if form == "csv":
        writer = csv.writer(sys.stdout)
        for row in (head, *rows):
            writer.writerow(
                [without_formulas(cell) if isinstance(cell, str) else cell for cell in row]
            )
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell).replace("[", r"\[") for cell in row))
    out.print(table)


def _document(image: Analysis) -> dict[str, Any]:
    document = asdict(replace(image, _ask_mood=None))
    del document["_ask_mood"]
    return {**document, "created_at": image.created_at.isoformat()}


def _in_a_line(image: Analysis) -> str:
    return ", ".join(face.dominant for face in image.faces) or "no face"


def _sentence(error: object) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    return str(error)


if __name__ == "__main__":
    main()
