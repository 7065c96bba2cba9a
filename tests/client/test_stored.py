"""`emotions history`, `summary`, `delete`, `models`, `detectors` and `pipelines`."""

import csv
import io
import json
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest
from click.testing import CliRunner
from emotions.cli import main

from tests.client.conftest import ANALYSIS, FACE, Response

# ---------------------------------------------------------------- history, summary and delete

JOY = {
    **FACE,
    "valence": 0.5,
    "arousal": -0.25,
    "dominant": "joy",
    "emotions": {"joy": 0.9, "calm": 0.1},
}
SPANS = [
    {
        "span": name, "images": 3, "faces": 4,
        "emotions": {label: {"faces": 2, "mean_probability": 0.5} for label in labels},
    }
    for name, labels in (("net", ["anger", "neutral"]), ("other", ["joy", "calm", "neutral"]))
]  # fmt: skip


def test_history_csv_has_emotions_of_all_models(scripted):
    images = [ANALYSIS, {**ANALYSIS, "faces": []}, {**ANALYSIS, "id": 5, "faces": [JOY, FACE]}]
    scripted.responses = [
        Response(200, {"images": images, "next_cursor": None}),
        Response(200, {"by": "model", "spans": SPANS}),
    ]
    arguments = [
        "history",
        "--format",
        "csv",
        "--emotion",
        "joy",
        "--since",
        "2026-01-01T00:00:00Z",
    ]
    done = CliRunner().invoke(main, ["--server", scripted.url, *arguments])
    assert (done.exit_code, done.stderr) == (0, "")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["image"], row["face"], row["emotion"]) for row in rows] == [
        ("7", "1", "anger"), ("7", "none", ""), ("5", "1", "joy"), ("5", "1", "anger"),
    ]  # fmt: skip
    assert rows[0]["created_at"] == "2026-05-04T12:00:00.500000+00:00"
    assert (rows[0]["model"], rows[0]["model_version"]) == ("net", "1.0")
    assert [rows[0][name] for name in ("anger", "neutral", "joy", "calm")] == ["0.7", "0.3", "", ""]
    assert [rows[2][name] for name in ("anger", "neutral", "joy", "calm")] == ["", "", "0.9", "0.1"]
    assert list(rows[0])[-2:] == ["valence", "arousal"]
    assert [(row["valence"], row["arousal"]) for row in rows] == [
        ("", ""), ("", ""), ("0.5", "-0.25"), ("", ""),
    ]  # fmt: skip
    summary = scripted.requests[1].path
    assert "by=model" in summary
    assert "since=2026" in summary
    assert "emotion=" not in summary  # a listed image may also have faces with other emotions


def test_history_table_has_time_model_and_faces(scripted):
    faces = [FACE, JOY, {**FACE, "emotions": {"anger": 0.4, "neutral": 0.3}}]
    images = [{**ANALYSIS, "faces": faces}, {**ANALYSIS, "faces": []}]
    scripted.responses = [Response(200, {"images": images, "next_cursor": None})]
    done = CliRunner().invoke(main, ["--server", scripted.url, "history"])
    head, first, second = done.stdout.splitlines()
    assert head.split() == ["image", "time", "(local)", "file", "model", "faces"]
    local = datetime(2026, 5, 4, 12, 0, tzinfo=UTC).astimezone()
    assert first.split()[:5] == ["7", f"{local:%Y-%m-%d}", f"{local:%H:%M}", "a.jpg", "net"]
    assert first.endswith("anger 0.70, joy 0.90, undecided")
    assert second.endswith("no faces")


def test_history_requests_no_more_than_limit(scripted):
    scripted.responses = [Response(200, {"images": [ANALYSIS] * 3, "next_cursor": "more"})]
    done = CliRunner().invoke(main, ["--server", scripted.url, "history", "--limit", "3"])
    assert len(done.stdout.splitlines()) == 4
    assert len(scripted.requests) == 1
    assert "page_size=3" in scripted.requests[0].path


def test_delete_sends_every_filter(scripted):
    scripted.responses = [Response(200, {"erased": 12})]
    filters = {
        "emotion": "anger", "min_probability": "0.5", "file_name": "a.jpg", "model": "net",
        "since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z", "min_faces": "2",
    }  # fmt: skip
    arguments = [
        text for name, value in filters.items() for text in ("--" + name.replace("_", "-"), value)
    ]
    done = CliRunner().invoke(main, ["--server", scripted.url, "delete", "--yes", *arguments])
    assert (done.exit_code, done.stdout) == (0, "deleted 12 images\n")
    (request,) = scripted.requests
    assert request.method == "DELETE"
    assert dict(parse_qsl(urlsplit(request.path).query)) == filters


def test_delete_has_all_filters_of_service():
    from app.api.arguments import FilterArguments

    names = {option.name for option in main.commands["delete"].params}
    assert names - {"ids", "yes"} == FilterArguments().fields.keys()


@pytest.mark.parametrize("form", ["table", "csv"])
def test_summary_ends_with_mean_valence_and_arousal(scripted, form):
    spans = [{**SPANS[0], "valence": 0.125, "arousal": -0.5}, {**SPANS[0], "valence": None}]
    scripted.responses = [Response(200, {"spans": spans})]
    done = CliRunner().invoke(main, ["--server", scripted.url, "summary", "--format", form])
    separator = "," if form == "csv" else None
    head, first, second = (line.split(separator) for line in done.stdout.splitlines())
    assert head == ["day", "images", "faces", "anger", "neutral", "valence", "arousal"]
    assert first[-2:] == ["0.12", "-0.5"]
    assert second[-2:] == (["", ""] if form == "csv" else ["2", "2"])


# ---------------------------------------------------------------- models, detectors and pipelines


@pytest.mark.weights
@pytest.mark.parametrize("command", ["models", "detectors", "pipelines"])
@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_models_detectors_and_pipelines_are_listed(run, command, form):
    done = run(command, "--format", form)
    assert (done.exit_code, done.stderr) == (0, "")
    known = {"models": "custom_net_8_int8", "detectors": "haar", "pipelines": "two_stage"}[command]
    if form == "json":
        listed = {item["name"]: item for item in map(json.loads, done.stdout.splitlines())}
        assert listed[known]["default"]
    elif form == "csv":
        listed = {row["name"]: row for row in csv.DictReader(io.StringIO(done.stdout))}
        assert listed[known]["state"] == "default"
    else:
        (line,) = (line for line in done.stdout.splitlines() if line.startswith(f"{known} "))
        assert "default" in line


def test_model_that_is_not_ready_is_listed_with_reason(scripted):
    broken = {"name": "x", "kind": "classifier", "ready": False, "default": False}
    scripted.responses = [Response(200, {"models": [{**broken, "problem": "no weights"}]})]
    done = CliRunner().invoke(main, ["--server", scripted.url, "models", "--format", "csv"])
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert (row["state"], row["labels"]) == ("not ready", "no weights")
