"""The wheel contains the service with data files, and neither tests nor training."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest

from app.settings import ROOT
from tests.conftest import require

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SOURCES = ("app", "migrations", "models", "pyproject.toml", "requirements.txt", "README.md")
LICENCES = ("LICENSE", "NOTICE")
# Files of models that are not needed to run them.
NOT_PACKAGED = re.compile(r"models/\w+/\w+\.(png|csv)")


@pytest.fixture(scope="module")
def committed():
    require((ROOT / ".git").exists(), "not a git checkout")
    command = ["git", "ls-files", *SOURCES, *LICENCES]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for path in listed.stdout.split("\n") if (ROOT / path).is_file()]


@pytest.fixture(scope="module")
def wheel(committed, tmp_path_factory):
    """The wheel, built from a copy of the sources because a build leaves files there."""
    pytest.importorskip("setuptools", minversion="77")
    copy, output = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for path in committed:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).symlink_to(ROOT / path)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    process = subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", output, copy],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    (path,) = output.glob("*.whl")
    return path


def test_wheel_contains_service_and_data(wheel, committed):
    packaged = {
        re.sub(r"^(migrations|models)/", r"app/\1/", path)
        for path in committed
        if path.startswith(("app/", "migrations/", "models/")) and not NOT_PACKAGED.match(path)
    }
    with zipfile.ZipFile(wheel) as archive:
        contained = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert contained == packaged
    for name in ("app/web/templates/index.html", "app/migrations/env.py"):
        assert name in contained
    assert "app/models/custom_net_8/model.onnx" in contained


def test_metadata_has_licence_and_requirements(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = archive.read(name).decode()
        files = archive.namelist()
    assert "License-Expression: Apache-2.0\n" in metadata
    for version in ("3.11", "3.12", "3.13"):
        assert f"Classifier: Programming Language :: Python :: {version}\n" in metadata
    required = re.findall(r"^Requires-Dist: ([\w-]+)", metadata, re.MULTILINE)
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    expected = [re.match(r"[\w-]+", line)[0] for line in lines if line and line[0] != "#"]
    assert sorted(required) == sorted(expected)
    for licence in LICENCES:
        if (ROOT / licence).exists():
            assert any(name.endswith(f"licenses/{licence}") for name in files)


def test_installed_package_migrates_and_finds_models(wheel, tmp_path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (folder := tmp_path / "folder").mkdir()

    def flask(*arguments):
        environment = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"}
        process = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "app", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        return process.stdout

    flask("db", "upgrade")
    assert (folder / "instance" / "emotion.db").stat().st_size > 0
    assert "custom_net_8\tready" in flask("models", "list")
    shutil.copy(ROOT / "docs" / "astronaut.jpg", folder / "a.jpg")
    assert "happiness" in flask("analyse", "a.jpg")


def test_pyproject_lists_every_package():
    folders = {path.parent for path in (ROOT / "app").rglob("*.py")}
    names = {str(folder.relative_to(ROOT)).replace("/", ".") for folder in folders}
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    assert listed == names | {"app.migrations", "app.models"}
