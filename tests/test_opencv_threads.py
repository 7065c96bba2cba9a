"""Only the start of a worker or command sets the number of threads of OpenCV."""

import subprocess
import sys

import cv2
import pytest

from app.settings import ROOT
from tests.conftest import image_file


@pytest.fixture
def threads():
    """The number of threads of OpenCV, which is restored after the test."""
    before = cv2.getNumThreads()
    yield before
    cv2.setNumThreads(before)


def test_create_app_does_not_set_the_threads(make_app, monkeypatch):
    monkeypatch.setattr(cv2, "setNumThreads", lambda count: pytest.fail("setNumThreads was called"))
    make_app(opencv_threads=3)


def test_start_of_a_worker_sets_the_threads(make_app, threads, monkeypatch):
    app = make_app(opencv_threads=threads + 1)
    monkeypatch.setattr(app.extensions["wal_cleaner"], "start", lambda: None)
    app.extensions["start_worker"]()
    assert cv2.getNumThreads() == threads + 1


def test_analyse_command_sets_the_threads(make_app, threads, tmp_path):
    (tmp_path / "a.png").write_bytes(image_file(100))
    runner = make_app(opencv_threads=threads + 1).test_cli_runner()
    assert runner.invoke(args=["analyse", str(tmp_path / "a.png")]).exit_code == 0
    assert cv2.getNumThreads() == threads + 1


def test_importing_the_application_does_not_set_the_threads():
    code = (
        "import cv2; before = cv2.getNumThreads(); import app.cli, app.vision.engine; "
        "assert cv2.getNumThreads() == before"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
