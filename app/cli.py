"""Commands for operators: `flask --app wsgi models …`."""

from pathlib import Path

import click
from flask import Flask, current_app
from flask.cli import AppGroup

from app.errors import EmotionError
from app.settings import Settings
from app.vision.engine import Engine
from app.vision.install import install

models = AppGroup("models", help="The models that requests can name.")


def init_cli(app: Flask) -> None:
    app.cli.add_command(models)


@models.command("list")
def list_models() -> None:
    """Every model and whether it can be used."""
    engine: Engine = current_app.extensions["engine"]
    for status in engine.models():
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
    """Check the ONNX file WEIGHTS against its card, run it once and offer it as model=<name>."""
    settings: Settings = current_app.extensions["settings"]
    try:
        installed = install(weights, card, settings.models_dir)
    except EmotionError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"installed {installed.name} {installed.version}, sha256 {installed.sha256}")
