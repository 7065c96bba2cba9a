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

MAX_NAME_LENGTH = 100
P = ParamSpec("P")

database = AppGroup("db", help="Manage the tables of the database.")
models = AppGroup("models", help="Manage models.")
keys = AppGroup("keys", help="Manage API keys.")
retention = AppGroup("retention", help="Delete old results.")


def init_cli(app: Flask) -> None:
    app.cli.add_command(analyse_files)
    app.cli.add_command(database)
    app.cli.add_command(models)
    app.cli.add_command(keys)
    app.cli.add_command(retention)


def _failure(error: Exception) -> click.ClickException:
    """Convert an error for the command line. The message includes causes that clients must
    not see."""
    return click.ClickException(getattr(error, "for_operator", None) or str(error))


def logs_events(command: Callable[P, None]) -> Callable[P, None]:
    """Decorate a command that logs events: write them to standard error like the service does."""

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
    """Migrate the tables back to REVISION. Newer tables and columns are dropped with their data."""
    from app.store.migrate import downgrade  # noqa: PLC0415 - slow to import

    _migrate(downgrade, revision)


def _migrate(command: Callable[[str], None], revision: str) -> None:
    from alembic.util import CommandError  # noqa: PLC0415 - slow to import

    try:
        command(revision)
    except (EmotionError, CommandError) as error:
        raise _failure(error) from error


@models.command("list")
def list_models() -> None:
    """List the models and their status."""
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
    "--card",
    required=True,
    type=click.Path(path_type=Path),
    help="path of the model card; see docs/model-cards.md",
)
def install_model(weights: Path, card: Path) -> None:
    """Check the ONNX file WEIGHTS against the card, run it once and install it as model=<name>."""
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
    help="right of the key; repeat the option to grant several rights; admin includes all others",
)
@click.option(
    "--days",
    type=WholeNumber(min=1, max=36_500),
    help="days until the key expires (default: never)",
)
@logs_events
def create_key(name: str, rights: tuple[str, ...], days: int | None) -> None:
    """Create an API key for NAME and print it. The key cannot be shown again."""
    if not 0 < len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        raise click.ClickException(f"NAME must have 1 to {MAX_NAME_LENGTH} printable characters")
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    try:
        key = issue(name, [Right(right) for right in rights], expires_at)
    except EmotionError as error:
        raise _failure(error) from error
    click.echo(key)
    click.echo("Store this key now: it cannot be shown again.", err=True)


@keys.command("list")
def list_keys() -> None:
    """List the API keys: id, rights, validity and name."""
    now = datetime.now(UTC)
    try:
        all_keys = stored_keys.find_all()
    except EmotionError as error:
        raise _failure(error) from error
    for key in all_keys:
        until = f"until {key.expires_at:%Y-%m-%d}" if key.expires_at else "for ever"
        rights = " ".join(right for right in Right if right in key.rights)
        click.echo(f"{key.id}\t{rights}\t{key.invalid_reason(now) or until}\t{key.name}")


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@logs_events
def revoke_key(key_id: str) -> None:
    """Revoke the API key with this ID. The next request with the key is rejected."""
    try:
        revoke(key_id)
    except EmotionError as error:
        raise _failure(error) from error
    click.echo(f"revoked {key_id}")


@retention.command("run")
@click.option(
    "--kept-images",
    is_flag=True,
    help="delete stored image files without a result even if EMOTION_KEEP_PICTURES is off",
)
@logs_events
def run_retention(*, kept_images: bool) -> None:
    """Delete results older than EMOTION_RETENTION_DAYS, idempotency records older than a day, and
    stored image files without a result."""
    settings: Settings = current_app.extensions["settings"]
    _erase_old(settings, kept_images=kept_images)
    if not wal_cleaner().clean():
        click.echo(
            "the write-ahead log still contains the erased rows, because a connection reads an "
            "older state of the database. The running service removes the rows later. To remove "
            "them without the service, run this command again.",
            err=True,
        )


def _erase_old(settings: Settings, *, kept_images: bool) -> None:
    try:
        removed = remove_due()
        if kept_images or settings.keep_pictures:
            removed += remove_orphans()
        delete_expired()
        if removed:
            click.echo(f"removed {removed} stored image files without a result")
        if not settings.retention_days:
            click.echo("EMOTION_RETENTION_DAYS is 0: results are never erased")
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
    "--threshold", type=DecimalNumber(0, 1), help="minimum probability of an emotion in the output"
)
@click.option("--pipeline", help="name of the pipeline (default: EMOTION_PIPELINE)")
@click.option("--model", help="name of the model (default: EMOTION_MODEL)")
@click.option("--detector", help="name of the detector (default: EMOTION_DETECTOR)")
@click.option("--store/--no-store", default=True, show_default=True, help="store the results")
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
    """Analyse FILES in this process, without a server, and print one line of JSON per file. The
    command continues after a file that fails."""
    settings: Settings = current_app.extensions["settings"]
    engine: Engine = current_app.extensions["engine"]
    cv2.setNumThreads(settings.opencv_threads)
    threshold = settings.threshold if threshold is None else threshold
    options = AnalysisOptions(pipeline, model, detector, threshold=threshold, store=store)
    failed = 0
    for path in files:
        # On some systems, file names are bytes that may not be valid UTF-8.
        name = os.fsencode(path.name).decode("utf-8", "replace")[:LONGEST_FILE_NAME]
        try:
            request = AnalysisRequest(ImageData(path.read_bytes(), name), options)
            analysis, _ = analyse(engine, request)
        except (EmotionError, OSError) as error:
            failed += 1
            click.echo(f"{path}: {_failure(error).message}", err=True)
            continue
        faces = [
            {
                "face_id": number,
                "box_xyxy": face.box.xyxy,
                "emotions": face.emotions.rounded(threshold),
            }
            for number, face in enumerate(analysis.faces, start=1)
        ]
        click.echo(json.dumps({"file": name, "id": analysis.id, "faces": faces}))
    if failed:
        raise click.ClickException(f"{failed} of {len(files)} files failed")
