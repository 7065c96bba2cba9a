"""`emotions history`, `summary` and `delete`, which work on stored images."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain, islice
from typing import Any

import click

from emotions.client import EmotionClient
from emotions.commands.numbers import Whole
from emotions.commands.options import FILTERS, FORMAT, options
from emotions.commands.output import (
    GAP,
    Column,
    analysis_document,
    joined_emotions,
    message_of,
    out,
    print_csv,
    print_json,
    print_message,
    print_table,
    shown_emotions,
)
from emotions.errors import EmotionError
from emotions.types import Analysis, Face, Span

MAX_PAGE_SIZE = 100  # images


@click.command()
@options(*FILTERS)
@click.option("--limit", type=Whole(1), default=20, show_default=True,
              help="maximum number of images")  # fmt: skip
@FORMAT
@click.pass_obj
def history(client: EmotionClient, /, limit: int, form: str, **filters: Any) -> None:
    """List stored images, newest first.

    The table has one row per image. CSV has one row per face, with all emotions.
    """
    images = islice(client.images(**filters, page_size=min(limit, MAX_PAGE_SIZE)), limit)
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
    # The summary names the columns of the emotions. Request it after the newest image: an older
    # summary could lack an emotion of that image.
    summary_filters = {name: filters[name] for name in ("since", "until", "model")}
    emotions = _emotions(client.summary("model", **summary_filters))
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
    row += [face.face_id, joined_emotions(face, image), f"{face.emotions[face.dominant]:.2f}"]
    row += [round(value) for value in face.box_xyxy]
    return [*row, *map(face.emotions.get, emotions), face.valence, face.arousal]


def _emotions(spans: Iterable[Span]) -> list[str]:
    """Return the distinct emotions of all spans."""
    return list(dict.fromkeys(name for span in spans for name in span.emotions))


def _describe_faces(image: Analysis) -> str:
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
    Column("faces", _describe_faces),
]


@click.command()
@options(*FILTERS)
@click.option("--by", type=click.Choice(["hour", "day", "model"]), default="day", show_default=True,
              help="hours and days are UTC")  # fmt: skip
@FORMAT
@click.pass_obj
def summary(client: EmotionClient, /, by: str, form: str, **filters: Any) -> None:
    """Count faces by dominant emotion, per hour, day or model."""
    spans = client.summary(by, **filters)
    emotions = _emotions(spans)
    columns: list[Column[Span]] = [
        Column(by, lambda span: span.span, 20 if by == "hour" else 12),
        Column("images", lambda span: span.images, 8, is_number=True),
        Column("faces", lambda span: span.faces, 8, is_number=True),
    ]
    means = [_mean_column("valence"), _mean_column("arousal")]
    wide = columns + [_count_column(name) for name in emotions] + means
    if form == "json":
        for span in spans:
            print_json(asdict(span))
    elif form == "csv":
        head = [column.name for column in wide]
        print_csv(head, ([column.value(span) for column in wide] for span in spans))
    elif not out.is_terminal or _min_width(wide) <= out.width:
        print_table(wide, spans)
    else:
        print_table([*columns, Column("emotions", _describe_counts), *means], spans)


def _count_column(emotion: str) -> Column[Span]:
    def faces(span: Span) -> int:
        return span.emotions[emotion].faces if emotion in span.emotions else 0

    return Column(emotion, faces, max(5, len(emotion)), is_number=True)


def _min_width(columns: Sequence[Column[Span]]) -> int:
    """Return the width of a table without optional columns, in characters."""
    return sum((column.width or 0) + GAP for column in columns if not column.optional) - GAP


def _mean_column(name: str) -> Column[Span]:
    def mean(span: Span) -> float | None:
        value: float | None = getattr(span, name)
        return None if value is None else round(value, 2)

    return Column(name, mean, 7, optional=True, is_number=True)


def _describe_counts(span: Span) -> str:
    counts = sorted(span.emotions.items(), key=lambda item: -item[1].faces)
    return ", ".join(f"{name} {count.faces}" for name, count in counts if count.faces)


@click.command()
@click.argument("ids", nargs=-1, type=Whole(1))
@options(*FILTERS)
@click.option("--yes", is_flag=True, help="delete all matching images without confirmation")
@click.pass_obj
def delete(client: EmotionClient, /, ids: Sequence[int], yes: bool, **filters: Any) -> None:
    """Delete the stored images with these IDS, or all images that match the filters."""
    active_filters = {name: value for name, value in filters.items() if value is not None}
    if bool(ids) == bool(active_filters):
        raise click.UsageError("pass either ids of images or at least one filter")
    if active_filters:
        _delete_matching(client, active_filters, yes=yes)
        return
    failed = 0
    for image_id in ids:
        try:
            client.delete(image_id)
            out.print(f"deleted {image_id}")
        except EmotionError as error:
            failed += 1
            print_message(f"{image_id}: {message_of(error)}", style="red")
    if failed:
        raise click.exceptions.Exit(1)


def _delete_matching(client: EmotionClient, filters: dict[str, Any], *, yes: bool) -> None:
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError(
                "pass --yes to delete by filter when the input is not a terminal"
            )
        conditions = ", ".join(f"{name} {value!r}" for name, value in filters.items())
        click.confirm(f"Delete every stored image with {conditions}?", abort=True, err=True)
    count = client.delete_matching(**filters)
    out.print(f"deleted {count} image{'' if count == 1 else 's'}")
