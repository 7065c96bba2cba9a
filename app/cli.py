"""Commands for operators, such as `flask --app wsgi models list`."""

import functools
import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ParamSpec

import click
import cv2
from flask import Flask, current_app
from flask.cli import AppGroup, with_appcontext

from app.analyse import analyse
from app.cli_numbers import DecimalNumber, WholeNumber
from app.errors import EmotionError
from app.keys import issue, revoke
from app.logs import logging_to_stderr
from app.settings import Settings
from app.store import keys as stored_keys
from app.store import queries
from app.store.database import wal_cleaner
from app.store.idempotency import delete_expired
from app.store.kept_images import remove_due, remove_orphans
from app.store.keys import Right
from app.store.records import LONGEST_FILE_NAME, Filters
from app.vision.engine import Engine
from app.vision.install import install
from app.vision.request import AnalysisOptions, AnalysisRequest, ImageData

LONGEST_NAME = 100
P = ParamSpec("P")

database = AppGroup("db", help="The tables of the database.")
models = AppGroup("models", help="The models that requests can name.")
keys = AppGroup("keys", help="The keys that requests need.")
retention = AppGroup("retention", help="How long results are kept.")


def init_cli(app: Flask) -> None:
    app.cli.add_command(analyse_files)
    app.cli.add_command(database)
    app.cli.add_command(models)
    app.cli.add_command(keys)
    app.cli.add_command(retention)


def _failure(error: Exception) -> click.ClickException:
    """The error with its cause, which the operator may see and clients may not."""
    return click.ClickException(getattr(error, "for_operator", None) or str(error))


def audited(command: Callable[P, None]) -> Callable[P, None]:
    """Let a command log its events to standard error, in the form of the service's log."""

    @functools.wraps(command)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        settings: Settings = current_app.extensions["settings"]
        with logging_to_stderr(settings.log_level):
            command(*arguments, **named)

    return run


@database.command("upgrade")
@click.argument("revision", default="head")
def upgrade_database(revision: str) -> None:
    """Create the tables, or migrate them to REVISION (default: the newest)."""
    from app.store.migrate import upgrade  # noqa: PLC0415 - slow to import

    _migrate(upgrade, revision)


@database.command("downgrade")
@click.argument("revision")
def downgrade_database(revision: str) -> None:
    """Migrate the tables back to REVISION. Data that it cannot hold is lost."""
    from app.store.migrate import downgrade  # noqa: PLC0415 - slow to import

    _migrate(downgrade, revision)


def _migrate(move: Callable[[str], None], revision: str) -> None:
    from alembic.util import CommandError  # noqa: PLC0415 - slow to import

    try:
        move(revision)
    except (EmotionError, CommandError) as error:
        raise _failure(error) from error


@models.command("list")
def list_models() -> None:
    """List the models and whether they can be used."""
    engine: Engine = current_app.extensions["engine"]
    for status in engine.models(wait=None):
        if status.card is None:
            click.echo(f"{status.name}\tbroken: {status.problem}")
        else:
            default = ", the default" if status.default else ""
            emotions = f"{len(status.card.labels)} emotions"
            click.echo(f"{status.name}\tready, {status.kind}, {emotions}{default}")


@models.command("install")
@click.argument("weights", type=click.Path(path_type=Path))
@click.option(
    "--card", required=True, type=click.Path(path_type=Path), help="its card.json; see docs/"
)
def install_model(weights: Path, card: Path) -> None:
    """Check the ONNX file WEIGHTS against its card, run it once and install it as model=<name>."""
    settings: Settings = current_app.extensions["settings"]
    try:
        installed = install(weights, card, settings.models_dir)
    except EmotionError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"installed {installed.name} {installed.version}, sha256 {installed.sha256}")


@keys.command("create")
@click.argument("name")
@click.option(
    "--right",
    "rights",
    multiple=True,
    required=True,
    type=click.Choice([str(right) for right in Right]),
    help="can be given several times; admin includes the others",
)
@click.option(
    "--days", type=WholeNumber(min=1, max=36_500), help="days until it expires (default: never)"
)
@audited
def create_key(name: str, rights: tuple[str, ...], days: int | None) -> None:
    """Create a key for NAME and print it. It is not shown again."""
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise click.ClickException(f"a name has 1 to {LONGEST_NAME} printable characters")
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    try:
        key = issue(name, [Right(right) for right in rights], expires_at)
    except EmotionError as error:
        raise _failure(error) from error
    click.echo(key)
    click.echo("This is the only time that it is shown.", err=True)


@keys.command("list")
def list_keys() -> None:
    """List the keys: id, rights, validity and name."""
    now = datetime.now(UTC)
    try:
        every = stored_keys.every()
    except EmotionError as error:
        raise _failure(error) from error
    for key in every:
        until = f"until {key.expires_at:%Y-%m-%d}" if key.expires_at else "for ever"
        rights = " ".join(right for right in Right if right in key.rights)
        click.echo(f"{key.id}\t{rights}\t{key.end(now) or until}\t{key.name}")


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@audited
def revoke_key(key_id: str) -> None:
    """Revoke the key with this ID, from its next request on."""
    try:
        revoke(key_id)
    except EmotionError as error:
        raise _failure(error) from error
    click.echo(f"revoked {key_id}")


@retention.command("run")
@click.option(
    "--kept-images",
    is_flag=True,
    help="Search the folder of kept images for files without a result even if keeping is off.",
)
@audited
def run_retention(*, kept_images: bool) -> None:
    """Erase results older than EMOTION_RETENTION_DAYS, idempotency records older than a day, and
    files of kept images that belong to no result."""
    settings: Settings = current_app.extensions["settings"]
    _erase_old(settings, kept_images=kept_images)
    if not wal_cleaner().clean():
        click.echo(
            "erased rows stay in the write-ahead log while a connection reads an older state; the "
            "running service removes them afterwards, or run this command again",
            err=True,
        )


def _erase_old(settings: Settings, *, kept_images: bool) -> None:
    try:
        removed = remove_due()
        if kept_images or settings.keep_pictures:
            removed += remove_orphans()
        delete_expired()
        if removed:
            click.echo(f"removed {removed} files of kept images that belonged to no result")
        if not settings.retention_days:
            click.echo("EMOTION_RETENTION_DAYS is 0: results are kept for ever")
            return
        until = datetime.now(UTC) - timedelta(days=settings.retention_days)
        erased = queries.erase_matching(Filters(until=until))
    except EmotionError as error:
        raise _failure(error) from error
    click.echo(f"erased {erased} images from before {until:%Y-%m-%d %H:%M} UTC")


@click.command("analyse")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option(
    "--threshold", type=DecimalNumber(0, 1), help="probability from which an emotion is shown"
)
@click.option("--pipeline")
@click.option("--model")
@click.option("--detector")
@click.option("--store/--no-store", default=True, show_default=True, help="keep the results")
@with_appcontext
def analyse_files(
    *,
    files: Sequence[Path],
    threshold: float | None,
    store: bool,
    pipeline: str | None,
    model: str | None,
    detector: str | None,
) -> None:
    """Analyse FILES in this process, without a server, and print a line of JSON for each. A file
    that fails does not stop the others."""
    settings: Settings = current_app.extensions["settings"]
    engine: Engine = current_app.extensions["engine"]
    cv2.setNumThreads(settings.opencv_threads)
    shown = settings.threshold if threshold is None else threshold
    options = AnalysisOptions(pipeline, model, detector, threshold=shown, store=store)
    failed = 0
    for path in files:
        # File names are bytes on some systems, and may not be valid text.
        name = os.fsencode(path.name).decode("utf-8", "replace")[:LONGEST_FILE_NAME]
        try:
            found, _ = analyse(engine, AnalysisRequest(ImageData(path.read_bytes(), name), options))
        except (EmotionError, OSError) as error:
            failed += 1
            click.echo(f"{path}: {_failure(error).message}", err=True)
            continue
        faces = [
            {"face_id": number, "box_xyxy": face.box.xyxy, "emotions": face.emotions.rounded(shown)}
            for number, face in enumerate(found.faces, start=1)
        ]
        click.echo(json.dumps({"file": name, "id": found.id, "faces": faces}))
    if failed:
        raise click.ClickException(f"{failed} of {len(files)} files failed")
