"""`emotions analyse` and `emotions mood`: many images at a time."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from emotions.client import EmotionClient
from emotions.commands.folders import Found, find_images
from emotions.commands.options import ANALYSIS, FORMAT, options
from emotions.commands.output import (
    Column,
    Failed,
    analysis_document,
    end_interrupted_line,
    err,
    out,
    print_csv,
    print_json,
    print_table,
    say,
    sentence,
    shown_emotions,
)
from emotions.errors import EmotionError, InvalidRequest, KeyRefused, NotAllowed, ServiceAway
from emotions.outcomes import Outcome
from emotions.types import Analysis, Face, Mood

PROGRESS_FROM = 3  # images
FUTILE = (KeyRefused, NotAllowed, ServiceAway)  # every other image would fail as well


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@options(*ANALYSIS)
@click.option("--no-store", is_flag=True, help="keep nothing in the service")
@click.option("--save-annotated", type=click.Path(path_type=Path, file_okay=False),
              help="folder for copies with boxes and labels")  # fmt: skip
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
    """Analyse images, and all images below folders except hidden ones.

    An image that fails does not stop the others. Failed images are listed at the end.
    """
    with Run(client, find_images(paths), {**asked, "store": not no_store}) as run:

        def analysed() -> Iterator[tuple[str, Analysis]]:
            for path, found in run.analysed():
                if save_annotated:
                    try:
                        _save(client, save_annotated / _beside(path, paths), path, asked)
                    except (EmotionError, OSError) as error:
                        run.failed.append((path, sentence(error)))
                        continue
                yield str(path), found

        _show(analysed(), form, asked["threshold"])


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@options(*ANALYSIS)
@click.option("--by", "aggregator",
              help="see `emotions aggregators`; the service's default unless given")  # fmt: skip
@click.option("--no-store", is_flag=True, help="keep nothing in the service")
@FORMAT
@click.pass_obj
def mood(
    client: EmotionClient,
    /,
    paths: Sequence[Path],
    aggregator: str | None,
    no_store: bool,
    form: str,
    **asked: Any,
) -> None:
    """Print the mood of the group in each image."""
    found = find_images(paths)
    if aggregator is None and found.images:
        aggregator = next((each.name for each in client.aggregators() if each.default), None)
    asked |= {"store": not no_store, "mood": aggregator}
    with Run(client, found, asked) as run:

        def moods() -> Iterator[tuple[str, Mood]]:
            for path, image in run.analysed():
                if image.group is None:
                    run.failed.append((path, "the service answers without a mood"))
                else:
                    yield str(path), image.group

        if form == "json":
            for name, group in moods():
                print_json({"path": name, **asdict(group)})
        elif form == "csv":
            head = [column.name for column in MOOD_COLUMNS]
            print_csv(head, ([column.value(it) for column in MOOD_COLUMNS] for it in moods()))
        else:
            print_table(MOOD_COLUMNS, moods())


class Run:
    """Sends many images, and lists those that failed when the `with` block ends.

    It stops early if every other image would fail as well: the service is away, the API key is
    rejected, or an option is wrong. Raises Failed if there is nothing to send or something failed.
    """

    def __init__(self, client: EmotionClient, found: Found, asked: dict[str, Any]) -> None:
        self.failed = [(path, sentence(error)) for path, error in found.unreadable]
        self._images = found.images
        self._unreadable = len(found.unreadable)
        if found.skipped:
            say(found.skipped_in_words())
        if found.hidden:
            say(found.hidden_in_words())
        if not found.images and not found.unreadable:
            raise Failed("no images found")
        self._outcomes = client.analyse_many(found.images, **asked)
        self._seen = 0

    def analysed(self) -> Iterator[tuple[Path, Analysis]]:
        """Yield the images that the service analysed, in their order."""
        with closing(self._outcomes):
            for outcome in _with_progress(self._outcomes, len(self._images)):
                self._seen += 1
                if outcome.analysis is not None:
                    yield outcome.source, outcome.analysis
                    continue
                self.failed.append((outcome.source, sentence(outcome.error)))
                if _is_futile(outcome.error):
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
        for path, why in self.failed:
            say(f"{path}: {why}", style="red")
        total = len(self._images)
        if kind is not None:
            say(f"interrupted: {self._seen} of {total} images are done")
        elif self.failed:
            left = total - self._seen
            others = f", {left} were not tried" if left else ""
            folders = f", {self._unreadable} folders cannot be read" if self._unreadable else ""
            images = len(self.failed) - self._unreadable
            raise Failed(f"{images} of {total} images failed{others}{folders}")


def _is_futile(error: EmotionError | None) -> bool:
    is_option = isinstance(error, InvalidRequest) and error.concerns_every_image
    return is_option or isinstance(error, FUTILE)


def _with_progress(outcomes: Iterator[Outcome[Path]], total: int) -> Iterator[Outcome[Path]]:
    # Rows on the same terminal show the progress themselves, and would break the bar.
    is_hidden = total < PROGRESS_FROM or not err.is_terminal or out.is_terminal
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=err, transient=True, disable=is_hidden,
    )  # fmt: skip
    with bar:
        task = bar.add_task("images", total=total)
        for outcome in outcomes:
            yield outcome
            bar.advance(task)


def _beside(path: Path, roots: Sequence[Path]) -> Path:
    """The path of the annotated copy: as that of the image within the folder that was named."""
    root = next((root for root in roots if root.is_dir() and root in path.parents), path.parent)
    relative = path.relative_to(root)
    return relative.with_name(f"{relative.name}.png")


def _save(client: EmotionClient, target: Path, path: Path, asked: dict[str, Any]) -> None:
    asked = {name: value for name, value in asked.items() if name != "workers"}
    drawn = client.annotated(path, **asked, store=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(drawn.data)


# ---------------------------------------------------------------- columns

Row = tuple[str, Analysis, Face | None, float | None]
"""File, analysis, one of its faces or None if it has none, and the threshold of the command."""


def _show(named: Iterator[tuple[str, Analysis]], form: str, threshold: float | None) -> None:
    if form == "json":
        for name, image in named:
            print_json({"path": name, **analysis_document(image)})
        return
    rows = (
        (name, image, face, threshold) for name, image in named for face in image.faces or (None,)
    )
    if form == "csv":
        head = ["file", "image", "face", "emotion", "probability", "x1", "y1", "x2", "y2"]
        print_csv(head, map(_csv_row, rows))
    else:
        print_table(COLUMNS, rows)


def _csv_row(row: Row) -> list[Any]:
    name, image, face, _ = row
    box = ["", "", "", ""] if face is None else [round(value) for value in face.box_xyxy]
    return [name, image.id, _number(row), _emotion(row), _probability(row), *box]


def _number(row: Row) -> Any:
    face = row[2]
    return "none" if face is None else face.face_id


def _emotion(row: Row) -> str:
    _, image, face, threshold = row
    return "" if face is None else shown_emotion(face, image, threshold)


def _probability(row: Row) -> str:
    face = row[2]
    return "" if face is None else f"{face.emotions[face.dominant]:.2f}"


def _box(row: Row) -> str:
    face = row[2]
    return "" if face is None else ",".join(str(round(value)) for value in face.box_xyxy)


def shown_emotion(face: Face, image: Analysis, threshold: float | None = None) -> str:
    """Return the emotions of `shown_emotions` as text, with the threshold of the image unless one
    is given. Empty if there are none."""
    limit = image.threshold if threshold is None else threshold
    return ", ".join(shown_emotions(face, limit))


COLUMNS: list[Column[Row]] = [
    Column("file", lambda row: row[0]),
    Column("image", lambda row: row[1].id, 7, is_number=True),
    Column("face", _number, 4, is_number=True),
    Column("emotion", _emotion, 9),
    Column("probability", _probability, 11, is_number=True),
    Column("box", _box, 19, optional=True),
]


def _valence(kind: str) -> Column[tuple[str, Mood]]:
    return Column(
        kind, lambda it: f"{it[1].valence.get(kind, 0):.2f}", 8, optional=True, is_number=True
    )


MOOD_COLUMNS: list[Column[tuple[str, Mood]]] = [
    Column("file", lambda it: it[0]),
    Column("mood", lambda it: it[1].mood or "none", 9),
    Column("agreement", lambda it: "" if it[1].agreement is None else f"{it[1].agreement:.2f}", 9),
    Column("faces", lambda it: len(it[1].weights), 5, is_number=True),
    *map(_valence, ("positive", "neutral", "negative")),
]
