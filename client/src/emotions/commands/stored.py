"""`emotions history`, `summary` and `delete`: what the service has stored."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain, islice
from typing import Any

import click

from emotions.client import EmotionClient
from emotions.commands.analyse import shown_emotion
from emotions.commands.numbers import Whole
from emotions.commands.options import FILTERS, FORMAT, options
from emotions.commands.output import (
    GAP,
    Column,
    analysis_document,
    out,
    print_csv,
    print_json,
    print_table,
    say,
    sentence,
    shown_emotions,
)
from emotions.errors import EmotionError
from emotions.types import Analysis, Face, Span

LARGEST_PAGE = 100  # images


@click.command()
@options(*FILTERS)
@click.option("--limit", type=Whole(1), default=20, show_default=True,
              help="number of images")  # fmt: skip
@FORMAT
@click.pass_obj
def history(client: EmotionClient, /, limit: int, form: str, **filters: Any) -> None:
    """List stored images, newest first.

    The table has one row per image, CSV one row per face with all its emotions.
    """
    images = islice(client.images(**filters, page_size=min(limit, LARGEST_PAGE)), limit)
    if form == "json":
        for image in images:
            print_json({"path": image.file_name, **analysis_document(image)})
    elif form == "csv":
        _print_faces(client, images, filters)
    else:
        print_table(HISTORY_COLUMNS, images)


def _print_faces(
    client: EmotionClient, images: Iterator[Analysis], filters: dict[str, Any]
) -> None:
    newest = list(islice(images, 1))
    # Requested after the newest image, so that it has all emotions of that image and of older ones.
    by_time = {name: filters[name] for name in ("since", "until", "model")}
    emotions = _emotions(client.summary("model", **by_time))
    head = ["image", "created_at", "file", "model", "model_version", "detector", "face", "emotion"]
    head += ["probability", "x1", "y1", "x2", "y2", *emotions, "valence", "arousal"]
    rows = (
        _face_row(image, face, emotions)
        for image in chain(newest, images)
        for face in image.faces or (None,)
    )
    print_csv(head, rows)


def _face_row(image: Analysis, face: Face | None, emotions: Sequence[str]) -> list[Any]:
    row = [image.id, image.created_at.isoformat(), image.file_name]
    row += [image.model, image.model_version, image.detector]
    if face is None:
        return [*row, "none", *[""] * (8 + len(emotions))]
    row += [face.face_id, shown_emotion(face, image), f"{face.emotions[face.dominant]:.2f}"]
    row += [round(value) for value in face.box_xyxy]
    return [*row, *map(face.emotions.get, emotions), face.valence, face.arousal]


def _emotions(spans: Iterable[Span]) -> list[str]:
    """The emotions of all spans, without repetitions."""
    return list(dict.fromkeys(name for span in spans for name in span.emotions))


def _faces_in_words(image: Analysis) -> str:
    faces = (
        " ".join(
            f"{name} {face.emotions[name]:.2f}" for name in shown_emotions(face, image.threshold)
        )
        for face in image.faces
    )
    return ", ".join(text or "undecided" for text in faces) or "no faces"


HISTORY_COLUMNS: list[Column[Analysis]] = [
    Column("image", lambda image: image.id, 6, is_number=True),
    Column("time (local)", lambda image: f"{image.created_at.astimezone():%Y-%m-%d %H:%M}", 16),
    Column("file", lambda image: image.file_name),
    Column("model", lambda image: image.model, 12),
    Column("faces", _faces_in_words),
]


@click.command()
@options(*FILTERS)
@click.option("--by", type=click.Choice(["hour", "day", "model"]), default="day", show_default=True,
              help="hours and days are UTC")  # fmt: skip
@FORMAT
@click.pass_obj
def summary(client: EmotionClient, /, by: str, form: str, **filters: Any) -> None:
    """Count the faces by their most probable emotion, per hour, day or model."""
    spans = client.summary(by, **filters)
    emotions = _emotions(spans)
    columns: list[Column[Span]] = [
        Column(by, lambda span: span.span, 20 if by == "hour" else 12),
        Column("images", lambda span: span.images, 8, is_number=True),
        Column("faces", lambda span: span.faces, 8, is_number=True),
    ]
    means = [_mean("valence"), _mean("arousal")]
    matrix = columns + [_count(name) for name in emotions] + means
    if form == "json":
        for span in spans:
            print_json(asdict(span))
    elif form == "csv":
        head = [column.name for column in matrix]
        print_csv(head, ([column.value(span) for column in matrix] for span in spans))
    elif not out.is_terminal or _narrowest(matrix) <= out.width:
        print_table(matrix, spans)
    else:
        print_table([*columns, Column("emotions", _counts_in_words), *means], spans)


def _count(emotion: str) -> Column[Span]:
    def faces(span: Span) -> int:
        return span.emotions[emotion].faces if emotion in span.emotions else 0

    return Column(emotion, faces, max(5, len(emotion)), is_number=True)


def _narrowest(columns: Sequence[Column[Span]]) -> int:
    """The width of a table without its optional columns."""
    return sum((it.width or 0) + GAP for it in columns if not it.optional) - GAP


def _mean(name: str) -> Column[Span]:
    def mean(span: Span) -> float | None:
        value: float | None = getattr(span, name)
        return None if value is None else round(value, 2)

    return Column(name, mean, 7, optional=True, is_number=True)


def _counts_in_words(span: Span) -> str:
    counts = sorted(span.emotions.items(), key=lambda it: -it[1].faces)
    return ", ".join(f"{name} {count.faces}" for name, count in counts if count.faces)


@click.command()
@click.argument("ids", nargs=-1, type=Whole(1))
@options(*FILTERS)
@click.option("--yes", is_flag=True, help="do not ask before all matching images are erased")
@click.pass_obj
def delete(client: EmotionClient, /, ids: Sequence[int], yes: bool, **filters: Any) -> None:
    """Erase stored images: those with the numbers IDS, or all that match the filters."""
    given = {name: value for name, value in filters.items() if value is not None}
    if bool(ids) == bool(given):
        raise click.UsageError("give either numbers of images or at least one filter")
    if given:
        _delete_matching(client, given, yes=yes)
        return
    failed = 0
    for image_id in ids:
        try:
            client.delete(image_id)
            out.print(f"erased {image_id}")
        except EmotionError as error:
            failed += 1
            say(f"{image_id}: {sentence(error)}", style="red")
    if failed:
        raise click.exceptions.Exit(1)


def _delete_matching(client: EmotionClient, filters: dict[str, Any], *, yes: bool) -> None:
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("erasing by filter needs --yes where nobody can be asked")
        wanted = ", ".join(f"{name} {value!r}" for name, value in filters.items())
        click.confirm(f"Erase every stored image with {wanted}?", abort=True, err=True)
    count = client.delete_matching(**filters)
    out.print(f"erased {count} image{'' if count == 1 else 's'}")
