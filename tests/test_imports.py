"""Importing a module changes no global settings of libraries or of the process."""

import json
import os
import pkgutil
import subprocess
import sys

import pytest

from app.settings import ROOT

# Runs in a new process: import the libraries, record their settings, import the modules of the
# package, and compare the settings.
PROGRAM = """
import importlib, json, logging, os, pkgutil, signal, socket, sys, warnings
import cv2, matplotlib, numpy, onnxruntime, pillow_heif
from PIL import AvifImagePlugin, Image, ImageFile, PngImagePlugin

def settings():
    options = pillow_heif.options
    return {
        "matplotlib": {k: str(v) for k, v in dict.items(matplotlib.rcParams)},
        "pyplot": "matplotlib.pyplot" in sys.modules,
        "cv2": [cv2.getNumThreads(), cv2.useOptimized()],
        "numpy": [numpy.geterr(), {k: str(v) for k, v in numpy.get_printoptions().items()}],
        "PIL": [Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, ImageFile.MAXBLOCK,
                PngImagePlugin.MAX_TEXT_MEMORY, PngImagePlugin.MAX_TEXT_CHUNK,
                AvifImagePlugin.DEFAULT_MAX_THREADS],
        "pillow_heif": {k: str(getattr(options, k)) for k in dir(options) if k.isupper()},
        "logging": [logging.root.level, len(logging.root.handlers), logging.root.manager.disable],
        "signals": {str(s): str(signal.getsignal(s)) for s in signal.valid_signals()},
        "timeout": socket.getdefaulttimeout(),
        "recursion": sys.getrecursionlimit(),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
    }

# Warning filters of libraries are ignored.
filters = []
warnings.filterwarnings = lambda *a, **k: filters.append(sys._getframe(1).f_globals["__name__"])
warnings.simplefilter = warnings.filterwarnings
before = settings()
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
after = settings()
changed = {key: [before[key], after[key]] for key in before if before[key] != after[key]}
ours = [name for name in filters if name.split(".")[0] in json.loads(sys.argv[2])]
print(json.dumps({"changed": changed, "filters": ours}))
"""
PACKAGES = ("app", "attacks", "benchmarks", "emotions", "evaluation", "fuzzing", "testbed")


def modules(package):
    names = [package]
    path = __import__(package).__path__
    for each in pkgutil.walk_packages(path, f"{package}."):
        if not each.name.endswith("__main__"):
            names.append(each.name)
    return names


def changes(names, ours=PACKAGES):
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(names), json.dumps(ours)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_package_changes_no_global_setting(package):
    assert changes(modules(package)) == {"changed": {}, "filters": []}


@pytest.mark.parametrize(
    "line",
    [
        "import matplotlib.pyplot",
        "cv2.setNumThreads(cv2.getNumThreads() + 1)",
        "PngImagePlugin.MAX_TEXT_MEMORY += 1",
        "pillow_heif.options.THUMBNAILS = not pillow_heif.options.THUMBNAILS",
        "os.environ['ADDED'] = 'x'",
        "warnings.filterwarnings('ignore')",
    ],
)
def test_changed_setting_is_detected(line, tmp_path, monkeypatch):
    head = "import os, warnings\nimport cv2, pillow_heif\nfrom PIL import PngImagePlugin\n"
    (tmp_path / "side_effect.py").write_text(head + line)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    result = changes(["side_effect"], ours=["side_effect"])
    assert result["changed"] or result["filters"]
