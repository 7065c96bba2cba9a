"""A model folder that is broken disables itself; everything else goes on as usual."""

import json
import os
import threading
from dataclasses import replace

import pytest

from app import create_app
from app.vision import folders, probe, registry
from app.vision.detectors import DETECTORS
from tests.conftest import StubDetector, card_document, picture, upload, write_model
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
    """An application with real networks behind the stub detector."""
    monkeypatch.setitem(DETECTORS, "stub", StubDetector)
    return create_app(replace(settings, models_dir=models_dir, model="sound"))


def post(app, *, gray=200, width=50, **query):
    form = {"image": upload(picture(width, gray=gray))}
    return app.test_client().post("/v1/images", data=form, query_string=query)


def listed(app):
    answer = app.test_client().get("/v1/models")
    assert answer.status_code == 200
    return {model["name"]: model for model in answer.json["models"]}


def counted(monkeypatch, module, name):
    calls = []
    real = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *a, **k: calls.append(a) or real(*a, **k))
    return calls


def write_text(path, text):
    path.unlink()
    path.write_text(text)


ODD = {
    "nested": lambda folder: write_text(folder / "card.json", "[" * 100_000 + "]" * 100_000),
    "nested objects": lambda folder: write_text(
        folder / "card.json", '{"a":' * 900 + "1" + "}" * 900
    ),
    "a pipe": lambda folder: (folder / "card.json").unlink() or os.mkfifo(folder / "card.json"),
    "weights that are a pipe": lambda folder: (
        (folder / "model.onnx").unlink() or os.mkfifo(folder / "model.onnx")
    ),
    "not a number": lambda folder: write_text(folder / "card.json", '{"name": NaN}'),
    "a strange name": lambda folder: folder.rename(folder.with_name("\udcff\n\u202e")),
    "another kind": lambda folder: write_text(
        folder / "card.json", json.dumps(card_document("odd") | {"kind": {"a": 1}})
    ),
    "too few labels": lambda folder: write_text(
        folder / "card.json",
        json.dumps(json.loads((folder / "card.json").read_text()) | {"labels": ["a", "b"]}),
    ),
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_folder_disables_itself_only(real_app, models_dir, what):
    ODD[what](write_graph_model(models_dir / "odd"))
    real_app.extensions["engine"].warm()
    assert real_app.test_client().get("/readyz").status_code == 200
    (name,) = listed(real_app).keys() - {"sound"}
    assert not listed(real_app)[name]["ready"]
    assert listed(real_app)[name]["problem"]
    assert listed(real_app)["sound"]["ready"]
    assert post(real_app).status_code == 201
    refused = post(real_app, model=name)
    assert refused.status_code == 503
    assert refused.content_type == "application/problem+json"
    assert real_app.test_client().get("/metrics").status_code == 200
    lines = real_app.test_cli_runner().invoke(args=["models", "list"])
    assert lines.exit_code == 0, lines.output


@pytest.mark.parametrize(
    ("weights", "asked", "complaint"),
    [
        (nan_when_black_graph(), {"gray": 0}, "NaN or infinity"),
        (pairs_only_graph(), {"width": 150}, "requires float32 of shape (3, 8)"),
    ],
)
def test_a_model_that_fails_on_some_images_is_unavailable_for_them(
    real_app, models_dir, weights, asked, complaint
):
    write_weights_model(models_dir / "odd", weights)
    assert post(real_app, model="odd", width=100).status_code == 201
    refused = post(real_app, model="odd", **asked)
    assert refused.status_code == 503
    assert refused.json["type"] == "urn:emotion:problem:model-unavailable"
    assert "'odd'" in refused.json["detail"]
    assert complaint in refused.json["detail"]
    assert post(real_app, **asked).status_code == 201
    assert len(real_app.test_client().get("/v1/images").json["images"]) == 2


def test_an_endless_model_holds_nobody_up(real_app, models_dir, monkeypatch):
    monkeypatch.setattr(probe, "_results", {})
    monkeypatch.setattr(probe, "CPU_SECONDS", 5)
    monkeypatch.setattr(probe, "WALL_SECONDS", 300)  # a busy machine must reach the CPU limit first
    trials = counted(monkeypatch, probe, "_run")
    write_weights_model(models_dir / "before_sound", endless_graph())
    engine = real_app.extensions["engine"]
    engine.warm()
    assert listed(real_app)["sound"]["ready"]
    assert post(real_app).status_code == 201
    # All that was done while it was being checked.
    assert listed(real_app)["before_sound"]["problem"] == registry.BEING_CHECKED
    assert engine.unusable == {}
    problems = {status.name: status.problem for status in engine.models(wait=None)}
    assert "more than 5 seconds of CPU time" in problems["before_sound"]
    assert problems["sound"] is None
    for _ in range(2):
        refused = post(real_app, model="before_sound")
        assert refused.status_code == 503
        assert "more than 5 seconds of CPU time" in refused.json["detail"]
    assert list(engine.unusable) == ["before_sound"]
    assert len(trials) == 2  # one of each model


def test_an_endless_model_is_not_installed(real_app, models_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "_results", {})
    monkeypatch.setattr(probe, "CPU_SECONDS", 1)
    (tmp_path / "endless.onnx").write_bytes(endless_graph())
    (tmp_path / "card.json").write_text(json.dumps(card_document("endless") | {"weights": {}}))
    weights, card_path = str(tmp_path / "endless.onnx"), str(tmp_path / "card.json")
    done = real_app.test_cli_runner().invoke(
        args=["models", "install", weights, "--card", card_path]
    )
    assert done.exit_code == 1
    assert "more than 1 seconds of CPU time" in done.output
    assert [path.name for path in models_dir.iterdir()] == ["sound"]


@pytest.mark.parametrize("odd", ["weights", "card"])
def test_a_pipe_is_not_installed(real_app, models_dir, tmp_path, odd):
    paths = {"weights": tmp_path / "some.onnx", "card": tmp_path / "some.json"}
    paths["weights"].write_bytes(graph().SerializeToString())
    paths["card"].write_text(json.dumps(card_document("some") | {"weights": {}}))
    paths[odd].unlink()
    os.mkfifo(paths[odd])
    done = real_app.test_cli_runner().invoke(
        args=["models", "install", str(paths["weights"]), "--card", str(paths["card"])]
    )
    assert done.exit_code == 1
    assert "not a regular file" in done.output


def test_an_endless_run_is_stopped_and_the_thread_is_free(real_app, models_dir, settings):
    """Its graph ends for the noise that it is tried on, and not for a dark face."""
    write_weights_model(models_dir / "odd", endless_graph(while_darker_than=100))
    hasty = create_app(
        replace(
            real_app.extensions["settings"], request_seconds=2, worker_threads=1, detector="stub"
        )
    )
    assert post(hasty, model="odd", gray=200).status_code == 201
    late = post(hasty, model="odd", gray=50)
    assert late.status_code == 503
    assert late.json["type"] == "urn:emotion:problem:took-too-long"
    assert post(hasty).status_code == 201


def test_asking_for_the_list_reads_no_weights_again(app, client, monkeypatch):
    client.get("/v1/models")
    monkeypatch.setattr(folders, "SCAN_SECONDS", 0)
    opened = counted(monkeypatch, os, "open")
    for path in ("/v1/models", "/v1/detectors", "/v1/pipelines", "/metrics"):
        for _ in range(3):
            assert client.get(path).status_code == 200
    assert [path for path, *_ in opened if "models" in str(path)] == []


def test_the_folder_is_looked_at_once_a_second(app, client, monkeypatch):
    looks = counted(monkeypatch, folders, "list_folders")
    for _ in range(20):
        client.get("/v1/models")
        client.get("/v1/detectors")
    assert len(looks) <= 3


def test_replaced_files_are_noticed(app, client, models_dir, monkeypatch):
    monkeypatch.setattr(folders, "SCAN_SECONDS", 0)
    assert listed(app)["sound"]["ready"]
    weights = models_dir / "sound" / "model.onnx"
    before, stat = weights.read_bytes(), weights.stat()
    other = weights.with_name("other")
    other.write_bytes(bytes(len(before)))
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.rename(weights)
    assert "checksum" in listed(app)["sound"]["problem"]
    weights.write_bytes(before)
    assert listed(app)["sound"]["ready"]
    write_model(models_dir, "added")
    assert listed(app).keys() == {"sound", "added"}


def test_many_clients_start_one_check(real_app, models_dir, monkeypatch):
    loads = counted(monkeypatch, registry.LoadOnce, "check")
    threads = [threading.Thread(target=listed, args=(real_app,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
