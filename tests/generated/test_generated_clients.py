"""Clients generated from the OpenAPI document, without warnings, send requests to the service."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import requests

from app.settings import ROOT
from testbed.service import running_service
from tests.conftest import require

pytestmark = pytest.mark.weights
HERE = Path(__file__).parent
GUIDE = (ROOT / "docs" / "generated-clients.md").read_text("utf-8")
PHOTO = str(ROOT / "docs" / "astronaut.jpg")


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    environment = {
        "EMOTION_KEEP_PICTURES": "true",
        "EMOTION_PICTURES_DIR": str(folder / "pictures"),
    }
    with running_service(folder, **environment) as url:
        yield url


@pytest.fixture
def document(url, tmp_path):
    path = tmp_path / "openapi.json"
    path.write_bytes(requests.get(f"{url}/openapi.json", timeout=10).content)
    return path


def run(*command, cwd, **environment):
    process = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout, process.stderr


def guide_program(language, url):
    """Return the program in the guide, changed to use the service at `url`."""
    (program,) = re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    return program.replace("http://127.0.0.1:5000", url)


def check_printed(printed):
    assert printed["threshold"] == 0.25
    for name in ("happiness", "fullHappiness"):
        assert printed[name] == [pytest.approx(1, abs=0.01)]
    assert printed["batch"] == [1, [[1, 415]]]
    assert (printed["listed"], printed["more"]) == (1, True)
    assert printed["problem"] == [404, "urn:emotion:problem:not-found"]
    assert printed["titles"] == ["Detector and classifier", "Single-shot network"]


def test_generated_typescript_client_works(url, document, tmp_path):
    node = shutil.which("node")
    require(node, "no Node: .ci/services installs it")
    packages = HERE / "node_modules"
    require(packages.is_dir(), "no tests/generated/node_modules: .ci/services installs them")
    for name in ("program.ts", "tsconfig.json", "package.json"):
        shutil.copy(HERE / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(packages)
    file_from_page = (
        'import { readFile } from "node:fs/promises";\n'
        f"const file = new Blob([new Uint8Array(await readFile({PHOTO!r}))]);\n"
    )
    (tmp_path / "guide.ts").write_text(file_from_page + guide_program("ts", url))
    generator = packages / "openapi-typescript" / "bin" / "cli.js"
    output = run(node, generator, document, "-o", "api.ts", cwd=tmp_path)
    assert "warn" not in "".join(output).lower()
    run(node, packages / "typescript" / "bin" / "tsc", "-p", ".", cwd=tmp_path)
    printed, _ = run(node, "program.js", url, PHOTO, cwd=tmp_path)
    check_printed(json.loads(printed))
    printed, _ = run(node, "guide.js", cwd=tmp_path)
    assert re.search(r"happiness: (1|0\.99)\b", printed)


def test_generated_python_client_works(url, document, tmp_path):
    require(
        find_spec("openapi_python_client"), "no openapi-python-client: make installs it for tests"
    )
    package = tmp_path / "emotion_api"
    run(
        *(sys.executable, "-m", "openapi_python_client", "generate", "--path", document),
        *("--output-path", package, "--meta", "none", "--fail-on-warning"),
        cwd=tmp_path,
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # the generator runs ruff
    )
    printed, _ = run(
        *(sys.executable, "-W", "error", HERE / "program.py", url, PHOTO),
        cwd=tmp_path,
        PYTHONPATH=str(tmp_path),
    )
    values = json.loads(printed)
    check_printed(values)
    assert values["file"]
    assert values["rejected"] == [415, ["image"]]
    (tmp_path / "photo.jpg").symlink_to(PHOTO)
    (tmp_path / "guide.py").write_text(guide_program("python", url))
    printed, _ = run(sys.executable, "-W", "error", "guide.py", cwd=tmp_path)
    assert re.fullmatch(r"1 \{'happiness': (1\.0|0\.99)\}\n", printed)
