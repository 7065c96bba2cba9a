"""Shared fixtures. Unit tests use stubs instead of weights and ONNX Runtime."""

import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image

from app import create_app
from app.cpus import available_cpus
from app.deadline import NEVER, Deadline
from app.settings import ROOT, Settings
from app.vision import classifier
from app.vision.detectors import DETECTORS
from app.vision.image import Raster
from app.vision.request import AnalysisOptions, AnalysisRequest, ImageData
from app.vision.session import Arrays
from app.vision.tensors import Signature
from app.vision.types import Box, Detection
from tests.upstream import Internet, open_internet

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytest_plugins = ["tests.databases"]

SHARED = ROOT.parent / "shared"
LABELS = (
    "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
)  # fmt: skip

YUNET_CARD = {
    "name": "yunet",
    "version": "320",
    "kind": "detector",
    "input": {"size": 320},
    "licence": "Apache-2.0",
    "intended_use": "finding faces",
}


def pytest_xdist_auto_num_workers() -> int:
    """The number of processes for `--numprocesses auto`: the CPUs of this container."""
    return available_cpus()


def require(present: object, reason: str) -> None:
    """Skip the test, or the module that calls this while it is imported, if a dependency is
    missing. In CI this is a failure."""
    if not present:
        if os.environ.get("CI") == "true":
            pytest.fail(f"missing in CI: {reason}")
        pytest.skip(reason, allow_module_level=True)


@pytest.fixture(scope="session")
def shared() -> Path:
    require(SHARED.is_dir(), "no research data at ../shared")
    return SHARED / "data"


class StubSession:
    """Stand-in for ONNX Runtime: bright crops are happiness (label 1), dark ones neutral (0)."""

    def __init__(self, weights: bytes, *, signatures: list[Signature], threads: int) -> None:
        ((self.output,),) = (each.outputs for each in signatures)
        self.batches: list[int] = []

    def run(self, inputs: Arrays, deadline: Deadline) -> dict[str, np.ndarray]:
        (crops,) = inputs.values()
        assert crops.dtype == np.uint8
        self.batches.append(len(crops))
        logits = np.zeros((len(crops), *self.output.shape), np.float32)
        logits[:, 1] = (crops.mean(axis=(1, 2, 3)) - 128) / 16
        return {self.output.name: logits}


class StubDetector:
    """Finds faces of 40 px side by side. Their number depends on the width of the image.

    An image with a width of 20 px or less has no face, one with 50 px has one, with 100 px two.
    """

    name = "stub"
    title = "Stub"
    description = "boxes for tests"
    needs_color = False
    min_face_share = 0.05
    max_pixels = math.inf
    box_scale = 1.0

    @classmethod
    def load(cls, models_dir: Path, *, threads: int = 1) -> "StubDetector":
        return cls()

    def scale_for(self, longer_side: int, min_face_px: float) -> float:
        return 1.0

    def detect(
        self, raster: Raster, min_face_px: float, deadline: Deadline = NEVER
    ) -> list[Detection]:
        width, height = raster.size_wh
        return [
            Detection(Box(x, 5, x + 40, min(45, height)), 0.75)
            for x in range(5, width - 40, 50)
            if height > 20
        ]


def card_document(name: str, labels: tuple[str, ...] = LABELS) -> dict:
    return {
        "name": name,
        "version": "0.1",
        "labels": list(labels),
        "input": {"size": 48, "channels": 1, "dtype": "uint8", "layout": "NCHW"},
        "crop_scale": 1.0,
        "temperature": 1.0,
        "weights": {"file": "model.onnx", "sha256": hashlib.sha256(b"stub").hexdigest()},
        "licence": "none",
        "intended_use": "tests",
    }


def write_model(models: Path, name: str, labels: tuple[str, ...] = LABELS) -> Path:
    folder = models / name
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps(card_document(name, labels)))
    (folder / "model.onnx").write_bytes(b"stub")
    return folder


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """A folder with two models, of 8 and of 5 classes."""
    write_model(tmp_path / "models", "stub_8")
    write_model(tmp_path / "models", "stub_5", LABELS[:5])
    return tmp_path / "models"


@pytest.fixture
def settings(tmp_path: Path, models_dir: Path, migrated_database: Path) -> Settings:
    shutil.copy(migrated_database, tmp_path / "test.db")
    return Settings(
        database_url=f"sqlite:///{tmp_path / 'test.db'}",
        models_dir=models_dir,
        model="stub_8",
        detector="stub",
    )


@pytest.fixture
def make_app(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Flask]:
    """A function that creates an application with stubs. Keyword arguments change settings."""
    monkeypatch.setitem(DETECTORS, "stub", StubDetector)
    monkeypatch.setattr(classifier, "OnnxSession", StubSession)

    def make(**changes: object) -> Flask:
        return create_app(replace(settings, **changes))

    return make


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Iterator[Flask]:
    yield make_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def image_file(
    width: int = 50, height: int = 50, *, gray: int = 200, kind: str = "PNG", **options: object
) -> bytes:
    """The file of a uniform grey image. The width sets the number of faces of StubDetector."""
    data = io.BytesIO()
    Image.new("RGB", (width, height), (gray, gray, gray)).save(data, kind, **options)
    return data.getvalue()


def analysis_request(data: bytes, **options: object) -> AnalysisRequest[ImageData]:
    """A request to analyse an image file. Keyword arguments are its options."""
    return AnalysisRequest(
        ImageData(data, "a.png"), AnalysisOptions(**{"threshold": 0.5} | options)
    )


def multipart_body(data: bytes) -> dict:
    """A form with one file.

    Flask's test client would write temporary files for large forms, and tests check that the
    service writes none.
    """
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    body = head + data + b"\r\n--x--\r\n"
    return {"data": body, "content_type": "multipart/form-data; boundary=x"}


def upload(data: bytes, name: str = "photo.png") -> tuple[io.BytesIO, str]:
    """A file part of a multipart form."""
    return io.BytesIO(data), name


@pytest.fixture(scope="session")
def astronaut_bgr() -> np.ndarray:
    """A public-domain photograph with one face (512, 512, 3), BGR."""
    from skimage import data

    return np.ascontiguousarray(data.astronaut()[:, :, ::-1])


FAKE_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


@pytest.fixture(scope="session")
def launch() -> Iterator[Callable[..., "Browser"]]:
    """A function that starts Chromium with arguments. All browsers end with the session."""
    chromium = shutil.which("chromium")
    require(chromium, "no Chromium: .ci/services installs it")
    from playwright.sync_api import sync_playwright

    quiet = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
    with sync_playwright() as playwright, ExitStack() as started:

        def launch(*arguments: str) -> "Browser":
            browser = playwright.chromium.launch(
                executable_path=chromium, args=[*quiet, *arguments]
            )
            return started.enter_context(browser)

        yield launch


@pytest.fixture(scope="session")
def browser(launch: Callable[..., "Browser"]) -> "Browser":
    return launch(*FAKE_CAMERA)


@pytest.fixture
def internet() -> Iterator[Internet]:
    internet = open_internet()
    yield internet
    internet.secure.stop()
    internet.plain.stop()
