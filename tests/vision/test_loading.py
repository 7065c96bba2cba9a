"""Networks of detectors are loaded once per process, with the configured number of threads."""

import threading

import pytest

from app.errors import ModelUnavailable
from app.vision import classifier, folders, single_shot
from app.vision.card import CLASSIFIER, SINGLE_SHOT
from app.vision.detectors import DETECTORS
from app.vision.engine import Engine
from tests.conftest import StubDetector, StubSession, analysis_request, image_file, write_model
from tests.graphs import write_single_shot
from tests.vision.test_single_shot import SIDE, one_face


@pytest.fixture
def sessions(monkeypatch):
    """The number of threads of every ONNX Runtime session that is created."""
    threads_of_sessions = []

    class Counted(StubSession):
        def __init__(self, weights, *, signatures, threads):
            threads_of_sessions.append(threads)
            super().__init__(weights, signatures=signatures, threads=threads)

    monkeypatch.setattr(classifier, "OnnxSession", Counted)
    real = single_shot.OnnxSession

    def counted(weights, *, signatures, threads):
        threads_of_sessions.append(threads)
        return real(weights, signatures=signatures, threads=threads)

    monkeypatch.setattr(single_shot, "OnnxSession", counted)
    return threads_of_sessions


@pytest.fixture
def engine(models_dir):
    write_single_shot(models_dir / "single_shot", one_face(), side=SIDE)
    write_model(models_dir, "haar", ("face", "other"))
    return Engine(
        models_dir,
        model="stub_8",
        detector="haar",
        max_image_bytes=100_000,
        max_pixels=1_000_000,
        max_faces=5,
        onnx_threads=3,
    )


@pytest.mark.parametrize("detector_first", [True, False])
def test_detector_and_pipeline_share_one_network(engine, sessions, detector_first):
    if detector_first:
        detector, net = engine.detector("single_shot"), engine.model(SINGLE_SHOT)
    else:
        net, detector = engine.model(SINGLE_SHOT, "single_shot"), engine.detector("single_shot")
    assert detector.net is net
    assert detector.net._session is net._session
    assert engine.detector("single_shot") is detector
    assert sessions == [3]
    engine.analyse(analysis_request(image_file(), pipeline="single_shot"))
    engine.detectors()
    assert sessions.count(3) == len(sessions) == 2  # the second session is the network of haar


def test_network_is_loaded_once_for_many_threads(engine, sessions):
    nets = []
    loads = [
        lambda: nets.append(engine.detector("single_shot").net),
        lambda: nets.append(engine.model(SINGLE_SHOT)),
    ]
    threads = [threading.Thread(target=loads[index % 2]) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(nets) == 8
    assert len(set(map(id, nets))) == 1
    assert sessions == [3]


def test_verification_network_of_haar_uses_the_configured_threads(engine, sessions):
    engine.detector("haar")
    assert sessions == [3]


def test_checks_and_models_use_the_configured_threads(engine, sessions):
    engine.models(wait=None)
    engine.model(CLASSIFIER)
    assert sessions == [3] * 5  # the checks of four folders, and the default classifier


def test_every_detector_gets_the_configured_threads(engine, monkeypatch):
    received = []

    class Recording(StubDetector):
        @classmethod
        def load(cls, models_dir, *, threads=1):
            received.append(threads)
            return cls()

    for name in DETECTORS.keys() - {"single_shot"}:
        monkeypatch.setitem(DETECTORS, name, Recording)
        engine.detector(name)
    assert received == [3] * (len(DETECTORS) - 1)


def test_missing_network_is_reported_with_advice(engine, models_dir):
    (models_dir / "single_shot" / "card.json").unlink()
    with pytest.raises(ModelUnavailable, match="the operator must copy models/single_shot from"):
        engine.detector("single_shot")


def test_broken_network_is_loaded_again_after_the_repair(engine, models_dir, monkeypatch):
    monkeypatch.setattr(folders, "SCAN_SECONDS", 0)
    weights = models_dir / "single_shot" / "model.onnx"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(ModelUnavailable, match="checksum"):
        engine.detector("single_shot")
    with pytest.raises(ModelUnavailable, match="checksum"):
        engine.model(SINGLE_SHOT)
    weights.write_bytes(whole)
    assert engine.detector("single_shot").net is engine.model(SINGLE_SHOT)
