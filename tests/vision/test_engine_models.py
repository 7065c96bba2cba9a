"""The models of the engine: loading, checks, and the choice of a model."""

import hashlib
import json
import shutil
import threading

import pytest

from app.errors import InvalidCard, ModelUnavailable, UnknownModel
from app.vision import classifier, folders
from app.vision.card import CLASSIFIER, SINGLE_SHOT
from tests.conftest import StubSession, image_file, write_model
from tests.vision.conftest import analyse


def test_constructor_loads_no_model(make_engine, models_dir):
    engine = make_engine()
    (models_dir / "stub_8" / "model.onnx").unlink()
    assert engine.problem == "the model is not loaded yet"


def test_model_is_loaded_once_for_many_threads(make_engine, monkeypatch):
    loads = []
    real = classifier.Classifier.load
    monkeypatch.setattr(
        classifier.Classifier, "load", lambda *a, **k: loads.append(1) or real(*a, **k)
    )
    engine = make_engine()
    threads = [threading.Thread(target=analyse, args=(engine, image_file())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1


def test_other_models_can_be_used_while_a_model_is_being_loaded(make_engine, monkeypatch):
    """The other models are one that is loaded, and one that is not loaded yet."""
    engine = make_engine(model="stub_5")
    started, released = threading.Event(), threading.Event()
    real = classifier.Classifier.load

    def load(folder, **named):
        if folder.name == "slow":
            started.set()
            assert released.wait(20)
        return real(folder, **named)

    monkeypatch.setattr(classifier.Classifier, "load", load)
    write_model(engine._folders.models_dir, "slow")
    analyse(engine, image_file())
    slow = threading.Thread(target=analyse, args=(engine, image_file()), kwargs={"model": "slow"})
    slow.start()
    assert started.wait(10)
    analyses = []
    for model in ("stub_5", "stub_8"):
        thread = threading.Thread(
            target=lambda model=model: analyses.append(analyse(engine, image_file(), model=model))
        )
        thread.start()
        thread.join(timeout=10)
    released.set()
    slow.join()
    assert len(analyses) == 2


def test_request_uses_the_named_model(make_engine):
    found = analyse(make_engine(), image_file(), model="stub_5")
    assert list(found.faces[0].emotions) == [
        "neutral", "happiness", "surprise", "sadness", "anger",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["nope", "", "..", "../models/stub_8", "stub_8/"])
def test_unknown_model_error_lists_the_known_models(make_engine, name):
    with pytest.raises(UnknownModel, match="known: stub_5, stub_8"):
        make_engine().model(CLASSIFIER, name)


def test_missing_default_model_raises_model_unavailable(make_engine):
    with pytest.raises(ModelUnavailable, match="default model 'gone' is not installed"):
        analyse(make_engine(model="gone"), image_file())


def test_engine_is_ready_after_warm(make_engine):
    engine = make_engine()
    engine.warm_up()
    assert engine.problem is None


def test_broken_default_model_is_reported_and_other_models_work(make_engine, models_dir):
    (models_dir / "stub_8" / "model.onnx").write_bytes(b"others")
    engine = make_engine()
    engine.warm_up()
    assert "checksum" in engine.problem
    assert analyse(engine, image_file(), model="stub_5").faces
    with pytest.raises(InvalidCard):
        analyse(engine, image_file())
    (models_dir / "stub_8" / "model.onnx").write_bytes(b"stub")
    engine.warm_up()
    assert engine.problem is None


def test_model_with_invalid_weights_is_reported_and_other_models_work(
    make_engine, models_dir, monkeypatch
):
    """Card and checksum match. Only loading reveals that the file is not a network."""

    class Refusing(StubSession):
        def __init__(self, weights, **options):
            if weights == b"truncated":
                raise ModelUnavailable("the weights are truncated")
            super().__init__(weights, **options)

    monkeypatch.setattr(classifier, "OnnxSession", Refusing)
    folder = write_model(models_dir, "broken")
    (folder / "model.onnx").write_bytes(b"truncated")
    document = json.loads((folder / "card.json").read_text())
    document["weights"]["sha256"] = hashlib.sha256(b"truncated").hexdigest()
    (folder / "card.json").write_text(json.dumps(document))
    monkeypatch.setattr(folders, "SCAN_SECONDS", 0)
    engine = make_engine()
    engine.warm_up()
    assert engine.problem is None
    assert engine.unusable == {"broken": "the weights are truncated"}
    assert analyse(engine, image_file()).faces
    with pytest.raises(ModelUnavailable, match="truncated"):
        analyse(engine, image_file(), model="broken")
    shutil.rmtree(folder)
    assert [status.problem for status in engine.models()] == [None, None]
    assert engine.unusable == {}


def test_models_are_checked_once(make_engine, monkeypatch):
    loads = []
    real = classifier.Classifier.load
    monkeypatch.setattr(
        classifier.Classifier, "load", lambda *a, **k: loads.append(a[0].name) or real(*a, **k)
    )
    engine = make_engine()
    engine.warm_up()
    engine.models()
    assert sorted(loads) == ["stub_5", "stub_8"]


def test_broken_model_is_listed_with_its_problem(make_engine, models_dir):
    folder = write_model(models_dir, "broken")
    (folder / "card.json").write_text(json.dumps({"name": "broken"}))
    (models_dir / "no_model").mkdir()
    listed = {status.name: status for status in make_engine().models()}
    assert list(listed) == ["broken", "stub_5", "stub_8"]
    assert listed["broken"].card is None
    assert "labels" in listed["broken"].problem
    assert listed["stub_8"].problem is None


def test_model_returns_the_model_of_the_kind_and_name(make_engine):
    engine = make_engine()
    assert engine.model(CLASSIFIER, "stub_5").card.name == "stub_5"
    assert engine.model(CLASSIFIER, None).card.name == "stub_8"
    with pytest.raises(UnknownModel):
        engine.model(CLASSIFIER, "single_shot")
    with pytest.raises(ModelUnavailable, match="'single_shot' is not installed"):
        engine.model(SINGLE_SHOT, None)
