"""`emotions models`, `detectors`, `pipelines` and `aggregators`, which print lists."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import click

from emotions.choices import Aggregator, Detector, Model, Pipeline
from emotions.client import EmotionClient
from emotions.commands.options import FORMAT
from emotions.commands.output import Column, print_csv, print_json, print_table

Item = TypeVar("Item")


@click.command()
@FORMAT
@click.pass_obj
def models(client: EmotionClient, form: str) -> None:
    """List the models. The JSON contains complete model cards."""
    _print(MODEL_COLUMNS, client.models(), form)


@click.command()
@FORMAT
@click.pass_obj
def detectors(client: EmotionClient, form: str) -> None:
    """List the face detectors."""
    _print(DETECTOR_COLUMNS, client.detectors(), form)


@click.command()
@FORMAT
@click.pass_obj
def pipelines(client: EmotionClient, form: str) -> None:
    """List the pipelines."""
    _print(PIPELINE_COLUMNS, client.pipelines(), form)


@click.command()
@FORMAT
@click.pass_obj
def aggregators(client: EmotionClient, form: str) -> None:
    """List the aggregators, which compute the mood of a group."""
    _print(AGGREGATOR_COLUMNS, client.aggregators(), form)


def _print(columns: Sequence[Column[Item]], items: Sequence[Item], form: str) -> None:
    if form == "json":
        for item in items:
            print_json(asdict(item))  # type: ignore[call-overload]
    elif form == "csv":
        head = [column.name for column in columns]
        print_csv(head, ([column.value(item) for column in columns] for item in items))
    else:
        print_table(columns, items)


def _state(item: Any) -> str:
    if not getattr(item, "ready", True):
        return "not ready"
    if item.default:
        return "default"
    return "recommended" if getattr(item, "recommended", False) else "ready"


def _labels(model: Model) -> str:
    return model.problem or ", ".join(str(label) for label in model.card.get("labels", ()))


MODEL_COLUMNS: list[Column[Model]] = [
    Column("name", lambda model: model.name, 18),
    Column("kind", lambda model: model.kind, 11),
    Column("state", _state, 9),
    Column("labels", _labels),
]
DETECTOR_COLUMNS: list[Column[Detector]] = [
    Column("name", lambda detector: detector.name, 12),
    Column("state", _state, 11),
    Column("description", lambda detector: detector.problem or detector.description),
]
PIPELINE_COLUMNS: list[Column[Pipeline]] = [
    Column("name", lambda pipeline: pipeline.name, 12),
    Column("state", _state, 9),
    Column("models", lambda pipeline: pipeline.models, 11),
    Column("description", lambda pipeline: pipeline.description),
]
AGGREGATOR_COLUMNS: list[Column[Aggregator]] = [
    Column("name", lambda aggregator: aggregator.name, 14),
    Column("state", _state, 9),
    Column("description", lambda aggregator: aggregator.description),
]
