"""Broken model folders: only the broken model is unavailable, everything else works."""

import json
import os
import threading
from dataclasses import replace

import pytest

from app import create_app
from app.vision import folders, probe, registry
from app.vision.detectors import DETECTORS
from tests.conftest import StubDetector, card_document, image_file, upload, write_model
from tests.graphs import (
    endless_graph,
    graph,
    nan_when_black_graph,
    pairs_only_graph,
    write_graph_model,
    write_weights_model,
)


@pytest.fixture
def models_dir(tmp_path):
    write_graph_model(tmp_path / "models" / "sound")
    return tmp_path / "models"


@pytest.fixture
def real_app(settings, models_dir, monkeypatch):
    """An application with real networks and the stub detector."""
    monkeypatch.setitem(DETECTORS, "stub", StubDetector)
    return create_app(replace(settings, models_dir=models_dir, model="sound"))


def post(app, *, gray=200, width=50, **query):
    form = {"image": upload(image_file(width, gray=gray))}
    return app.test_client().post("/v1/images", data=form, query_string=query)


def listed_models(app):
    response = app.test_client().get("/v1/models")
    assert response.status_code == 200
    return {model["name"]: model for model in response.json["models"]}


def record_calls(monkeypatch, module, name):
    """Replace a function by one that also appends its arguments to the returned list."""
    calls = []
    real = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *a, **k: calls.append(a) or real(*a, **k))
    return calls


def replace_text(path, text):
    path.unlink()
    path.write_text(text)


# Functions that break a valid model folder, by a description of the defect.
BREAKAGES = {
    "nested": lambda folder: replace_text(folder / "card.json", "[" * 100_000 + "]" * 100_000),
    "nested objects": lambda folder: replace_text(
        folder / "card.json", '{"a":' * 900 + "1" + "}" * 900
    ),
    "a pipe": lambda folder: (folder / "card.json").unlink() or os.mkfifo(folder / "card.json"),
    "weights that are a pipe": lambda folder: (
        (folder / "model.onnx").unlink() or os.mkfifo(folder / "model.onnx")
    ),
    "not a number": lambda folder: replace_text(folder / "card.json", '{"name": NaN}'),
    "a strange name": lambda folder: folder.rename(folder.with_name("\udcff\n\u202e")),
    "another kind": lambda folder: replace_text(
        folder / "card.json", json.dumps(card_document("odd") | {"kind": {"a": 1}})
    ),
    "too few labels": lambda folder: replace_text(
        folder / "card.json",
        json.dumps(json.loads((folder / "card.json").read_text()) | {"labels": ["a", "b"]}),
    ),
}


@pytest.mark.parametrize("case", BREAKAGES)
def test_broken_folder_disables_only_its_model(real_app, models_dir, case):
    BREAKAGES[case](write_graph_model(models_dir / "broken"))
    real_app.extensions["engine"].warm_up()
    assert real_app.test_client().get("/readyz").status_code == 200
    (name,) = listed_models(real_app).keys() - {"sound"}
    assert not listed_models(real_app)[name]["ready"]
    assert listed_models(real_app)[name]["problem"]
    assert listed_models(real_app)["sound"]["ready"]
    assert post(real_app).status_code == 201
    rejected = post(real_app, model=name)
    assert rejected.status_code == 503
    assert rejected.content_type == "application/problem+json"
    assert real_app.test_client().get("/metrics").status_code == 200
    command = real_app.test_cli_runner().invoke(args=["models", "list"])
    assert command.exit_code == 0, command.output


@pytest.mark.parametrize(
    ("weights", "image_options", "reason"),
    [
        (nan_when_black_graph(), {"gray": 0}, "NaN or infinity"),
        (pairs_only_graph(), {"width": 150}, "requires float32 of shape (3, 8)"),
    ],
)
def test_model_that_fails_on_an_image_returns_503(
    real_app, models_dir, weights, image_options, reason
):
    write_weights_model(models_dir / "broken", weights)
    assert post(real_app, model="broken", width=100).status_code == 201
    rejected = post(real_app, model="broken", **image_options)
    assert rejected.status_code == 503
    assert rejected.json["type"] == "urn:emotion:problem:model-unavailable"
    assert "'broken'" in rejected.json["detail"]
    assert reason in rejected.json["detail"]
    assert post(real_app, **image_options).status_code == 201
    assert len(real_app.test_client().get("/v1/images").json["images"]) == 2


def test_endless_model_does_not_block_other_models(real_app, models_dir, monkeypatch):
    monkeypatch.setattr(probe, "_results", {})
    monkeypatch.setattr(probe, "CPU_SECONDS", 5)
    monkeypatch.setattr(probe, "WALL_SECONDS", 300)  # a busy machine must reach the CPU limit first
    probes = record_calls(monkeypatch, probe, "_run")
    write_weights_model(models_dir / "before_sound", endless_graph())
    engine = real_app.extensions["engine"]
    engine.warm_up()
    assert listed_models(real_app)["sound"]["ready"]
    assert post(real_app).status_code == 201
    # The check of the endless model is still running.
    assert listed_models(real_app)["before_sound"]["problem"] == registry.BEING_CHECKED
    assert engine.unusable == {}
    problems = {status.name: status.problem for status in engine.models(wait=None)}
    assert "more than 5 seconds of CPU time" in problems["before_sound"]
    assert problems["sound"] is None
    for _ in range(2):
        rejected = post(real_app, model="before_sound")
        assert rejected.status_code == 503
        assert "more than 5 seconds of CPU time" in rejected.json["detail"]
    assert list(engine.unusable) == ["before_sound"]
    assert len(probes) == 2  # one for each model


def test_endless_model_is_not_installed(real_app, models_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "_results", {})
    monkeypatch.setattr(probe, "CPU_SECONDS", 1)
    (tmp_path / "endless.onnx").write_bytes(endless_graph())
    (tmp_path / "card.json").write_text(json.dumps(card_document("endless") | {"weights": {}}))
    weights, card_path = str(tmp_path / "endless.onnx"), str(tmp_path / "card.json")
    command = real_app.test_cli_runner().invoke(
        args=["models", "install", weights, "--card", card_path]
    )
    assert command.exit_code == 1
    assert "more than 1 seconds of CPU time" in command.output
    assert [path.name for path in models_dir.iterdir()] == ["sound"]


@pytest.mark.parametrize("file", ["weights", "card"])
def test_pipe_is_not_installed(real_app, models_dir, tmp_path, file):
    paths = {"weights": tmp_path / "some.onnx", "card": tmp_path / "some.json"}
    paths["weights"].write_bytes(graph().SerializeToString())
    paths["card"].write_text(json.dumps(card_document("some") | {"weights": {}}))
    paths[file].unlink()
    os.mkfifo(paths[file])
    command = real_app.test_cli_runner().invoke(
        args=["models", "install", str(paths["weights"]), "--card", str(paths["card"])]
    )
    assert command.exit_code == 1
    assert "not a regular file" in command.output


def test_endless_run_is_stopped_at_deadline(real_app, models_dir, settings):
    """The graph terminates for the noise of the check, but not for a dark face."""
    write_weights_model(models_dir / "broken", endless_graph(while_darker_than=100))
    app = create_app(
        replace(
            real_app.extensions["settings"], request_seconds=2, worker_threads=1, detector="stub"
        )
    )
    assert post(app, model="broken", gray=200).status_code == 201
    late = post(app, model="broken", gray=50)
    assert late.status_code == 503
    assert late.json["type"] == "urn:emotion:problem:took-too-long"
    assert post(app).status_code == 201


def test_model_list_does_not_read_weights_again(app, client, monkeypatch):
    client.get("/v1/models")
    monkeypatch.setattr(folders, "SCAN_SECONDS", 0)
    opened = record_calls(monkeypatch, os, "open")
    for path in ("/v1/models", "/v1/detectors", "/v1/pipelines", "/metrics"):
        for _ in range(3):
            assert client.get(path).status_code == 200
    assert [path for path, *_ in opened if "models" in str(path)] == []


def test_models_folder_is_scanned_at_most_once_a_second(app, client, monkeypatch):
    scans = record_calls(monkeypatch, folders, "list_folders")
    for _ in range(20):
        client.get("/v1/models")
        client.get("/v1/detectors")
    assert len(scans) <= 3


def test_replaced_files_are_detected(app, client, models_dir, monkeypatch):
    monkeypatch.setattr(folders, "SCAN_SECONDS", 0)
    assert listed_models(app)["sound"]["ready"]
    weights = models_dir / "sound" / "model.onnx"
    original, stat = weights.read_bytes(), weights.stat()
    replacement = weights.with_name("replacement")
    replacement.write_bytes(bytes(len(original)))
    os.utime(replacement, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    replacement.rename(weights)
    assert "checksum" in listed_models(app)["sound"]["problem"]
    weights.write_bytes(original)
    assert listed_models(app)["sound"]["ready"]
    write_model(models_dir, "added")
    assert listed_models(app).keys() == {"sound", "added"}


def test_concurrent_clients_start_one_check(real_app, models_dir, monkeypatch):
    checks = record_calls(monkeypatch, registry.LoadOnce, "check")
    threads = [threading.Thread(target=listed_models, args=(real_app,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(checks) == 1
