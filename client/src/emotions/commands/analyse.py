"""`emotions analyse` and `emotions mood`, which send many images concurrently."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from emotions.client import EmotionClient
from emotions.commands.folders import find_images
from emotions.commands.options import ANALYSIS, FORMAT, options
from emotions.commands.output import (
    Column,
    analysis_document,
    joined_emotions,
    message_of,
    print_csv,
    print_json,
    print_table,
)
from emotions.commands.run import Run
from emotions.errors import EmotionError
from emotions.types import Analysis, Face, Mood


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@options(*ANALYSIS)
@click.option("--no-store", is_flag=True, help="do not store the results in the service")
@click.option("--save-annotated", type=click.Path(path_type=Path, file_okay=False),
              help="folder for copies of the images with boxes and labels")  # fmt: skip
@FORMAT
@click.pass_obj
def analyse(
    client: EmotionClient,
    /,
    paths: Sequence[Path],
    no_store: bool,
    save_annotated: Path | None,
    form: str,
    **analysis_options: Any,
) -> None:
    """Analyse images, and all images in folders and their subfolders, without hidden files.

    A failed image does not stop the others. Failed images are listed at the end.
    """
    with Run(client, find_images(paths), {**analysis_options, "store": not no_store}) as run:

        def results() -> Iterator[tuple[str, Analysis]]:
            for path, analysis in run.analysed():
                if save_annotated:
                    target = save_annotated / _annotated_path(path, paths)
                    try:
                        _save_annotated(client, target, path, analysis_options)
                    except (EmotionError, OSError) as error:
                        run.failed.append((path, message_of(error)))
                        continue
                yield str(path), analysis

        _print_results(results(), form, analysis_options["threshold"])


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@options(*ANALYSIS)
@click.option("--by", "aggregator",
              help="aggregator (see `emotions aggregators`); default: the default of the service"
)  # fmt: skip
@click.option("--no-store", is_flag=True, help="do not store the results in the service")
@FORMAT
@click.pass_obj
def mood(
    client: EmotionClient,
    /,
    paths: Sequence[Path],
    aggregator: str | None,
    no_store: bool,
    form: str,
    **analysis_options: Any,
) -> None:
    """Print the mood of the group in each image."""
    found = find_images(paths)
    if aggregator is None and found.images:
        aggregator = next((each.name for each in client.aggregators() if each.default), None)
    analysis_options |= {"store": not no_store, "mood": aggregator}
    with Run(client, found, analysis_options) as run:

        def moods() -> Iterator[tuple[str, Mood]]:
            for path, analysis in run.analysed():
                if analysis.group is None:
                    run.failed.append((path, "the response has no mood"))
                else:
                    yield str(path), analysis.group

        if form == "json":
            for name, group in moods():
                print_json({"path": name, **asdict(group)})
        elif form == "csv":
            head = [column.name for column in MOOD_COLUMNS]
            print_csv(head, ([column.value(row) for column in MOOD_COLUMNS] for row in moods()))
        else:
            print_table(MOOD_COLUMNS, moods())


def _annotated_path(path: Path, roots: Sequence[Path]) -> Path:
    """Return the path of the annotated copy, relative to the output folder. Copies of images
    from a folder keep the structure of the folder."""
    root = next((root for root in roots if root.is_dir() and root in path.parents), path.parent)
    relative = path.relative_to(root)
    return relative.with_name(f"{relative.name}.png")


def _save_annotated(
    client: EmotionClient, target: Path, path: Path, analysis_options: dict[str, Any]
) -> None:
    options = {name: value for name, value in analysis_options.items() if name != "workers"}
    annotated = client.annotated(path, **options, store=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(annotated.data)


# ---------------------------------------------------------------- columns

Row = tuple[str, Analysis, Face | None, float | None]
"""File name, analysis, a face (None if the image has no faces), and the option `threshold`."""


def _print_results(
    results: Iterator[tuple[str, Analysis]], form: str, threshold: float | None
) -> None:
    if form == "json":
        for name, analysis in results:
            print_json({"path": name, **analysis_document(analysis)})
        return
    rows = (
        (name, analysis, face, threshold)
        for name, analysis in results
        for face in analysis.faces or (None,)
    )
    if form == "csv":
        head = ["file", "image", "face", "emotion", "probability", "x1", "y1", "x2", "y2"]
        print_csv(head, map(_csv_row, rows))
    else:
        print_table(COLUMNS, rows)


def _csv_row(row: Row) -> list[Any]:
    name, analysis, face, _ = row
    box = ["", "", "", ""] if face is None else [round(value) for value in face.box_xyxy]
    return [name, analysis.id, _face_id(row), _emotions(row), _probability(row), *box]


def _face_id(row: Row) -> Any:
    face = row[2]
    return "none" if face is None else face.face_id


def _emotions(row: Row) -> str:
    _, analysis, face, threshold = row
    return "" if face is None else joined_emotions(face, analysis, threshold)


def _probability(row: Row) -> str:
    face = row[2]
    return "" if face is None else f"{face.emotions[face.dominant]:.2f}"


def _box(row: Row) -> str:
    face = row[2]
    return "" if face is None else ",".join(str(round(value)) for value in face.box_xyxy)


COLUMNS: list[Column[Row]] = [
    Column("file", lambda row: row[0]),
    Column("image", lambda row: row[1].id, 7, is_number=True),
    Column("face", _face_id, 4, is_number=True),
    Column("emotion", _emotions, 9),
    Column("probability", _probability, 11, is_number=True),
    Column("box", _box, 19, optional=True),
]


MoodRow = tuple[str, Mood]
"""File name and mood."""


def _agreement(row: MoodRow) -> str:
    agreement = row[1].agreement
    return "" if agreement is None else f"{agreement:.2f}"


def _valence(kind: str) -> Column[MoodRow]:
    return Column(
        kind, lambda row: f"{row[1].valence.get(kind, 0):.2f}", 8, optional=True, is_number=True
    )


MOOD_COLUMNS: list[Column[MoodRow]] = [
    Column("file", lambda row: row[0]),
    Column("mood", lambda row: row[1].mood or "none", 9),
    Column("agreement", _agreement, 9),
    Column("faces", lambda row: len(row[1].weights), 5, is_number=True),
    *map(_valence, ("positive", "neutral", "negative")),
]
