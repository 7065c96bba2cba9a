"""An engine with stub models and a stub detector."""

import pytest

from app.vision import classifier
from app.vision.detectors import DETECTORS
from app.vision.engine import Engine
from tests.conftest import StubDetector, StubSession, analysis_request


@pytest.fixture
def make_engine(models_dir, monkeypatch):
    monkeypatch.setitem(DETECTORS, "stub", StubDetector)
    monkeypatch.setattr(classifier, "OnnxSession", StubSession)

    def make(**changes):
        options = {
            "model": "stub_8",
            "detector": "stub",
            "max_image_bytes": 100_000,
            "max_pixels": 1_000_000,
            "max_faces": 200,
        }
        return Engine(models_dir, **options | changes)

    return make


def analyse(engine, data, **options):
    return engine.analyse(analysis_request(data, **options))
