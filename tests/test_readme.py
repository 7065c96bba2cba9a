"""Runs the commands of the README and of docs/ against a real service and compares their output.

A ```console block has commands after `$ ` and their output. JSON is compared with a tolerance for
numbers. Values that differ in every run (times, request ids, milliseconds) are not compared.
"""

import csv
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import ROOT
from app.vision.install import install
from testbed.service import running_service
from tests.conftest import require

pytestmark = pytest.mark.weights
README = (ROOT / "README.md").read_text("utf-8")
DOCS = {path.stem: path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
OWN_MODEL = DOCS["own-model"]
NEEDS_POSTGRESQL = "postgresql"
CHANGES_EACH_TIME = {"created_at", "request_id", "timings_ms", "span"}
CHANGING_TEXT = {
    "<key>": r"\bemo_[0-9a-f]{12}_[\w-]{43}",
    "<id>": r"\b[0-9a-f]{12}\b",
    "<date>": r"\b\d{4}-\d\d-\d\d\b",
    "<time>": r"\b\d\d:\d\d\b",
}
TOLERANCE = 0.02


def blocks(page, language):
    """Return the content of each code block in `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def commands(page):
    """Yield (command, output) for every command of a page's console blocks, in order."""
    for block in blocks(page, "console"):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = step.split("\n")
            command = []
            while lines:
                command.append(lines.pop(0))
                if not command[-1].endswith("\\"):
                    break
            yield "\n".join(command), "\n".join(lines).strip()


def matches(printed, written):
    if isinstance(written, dict):
        return printed.keys() == written.keys() and all(
            key in CHANGES_EACH_TIME or matches(printed[key], written[key]) for key in written
        )
    if isinstance(written, list):
        return len(printed) == len(written) and all(map(matches, printed, written))
    if isinstance(written, float):
        return abs(printed - written) <= TOLERANCE
    return printed == written


def parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        pass
    if text.startswith("image_id,"):
        rows = list(csv.DictReader(io.StringIO(text)))
        number = re.compile(r"-?\d+\.\d+(e-?\d+)?")
        return [
            {key: float(value) if number.fullmatch(value) else value for key, value in row.items()}
            for row in rows
        ]
    for placeholder, pattern in CHANGING_TEXT.items():
        text = re.sub(pattern, placeholder, text)
    return text


WITH_COMMANDS = {
    "README": README,
    **{name: page for name, page in DOCS.items() if blocks(page, "console")},
}


def test_pages_contain_commands():
    assert len(list(commands(README))) == 3
    known = {"api", "authentication", "errors", "face-detection", "fetching", "group-mood"}
    known |= {"own-model", "retention", "postgresql"}
    assert set(WITH_COMMANDS) >= {"README", *known}


@pytest.mark.parametrize("name", sorted(WITH_COMMANDS.keys() - {NEEDS_POSTGRESQL}))
def test_commands_of_a_page_print_its_output(tmp_path, name):
    database = f"sqlite:///{tmp_path / 'service.db'}"
    check_commands(WITH_COMMANDS[name], tmp_path, database)


@pytest.mark.postgres
def test_commands_of_the_postgresql_page_print_its_output(tmp_path, postgres_url):
    require(shutil.which("pg_dump") and shutil.which("psql"), "no clients of PostgreSQL")
    check_commands(WITH_COMMANDS[NEEDS_POSTGRESQL], tmp_path, postgres_url)


def check_commands(page, folder, database):
    models = folder / "models"
    shutil.copytree(ROOT / "models", models)
    for document in blocks(page, "json"):
        (path,) = re.findall(r"Save this as `/tmp/([\w.-]+)`", page)
        (folder / path).write_text(document)
    environment = {"EMOTION_MODELS_DIR": str(models), "EMOTION_DATABASE_URL": database}
    with running_service(folder, **environment) as url:
        for command, written in commands(page):
            here = command.replace("http://127.0.0.1:5000", url)
            here = here.replace("/tmp/", f"{folder}/")
            here = here.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
            done = subprocess.run(
                ["bash", "-c", here],
                cwd=ROOT,
                env=os.environ | environment,
                capture_output=True,
                text=True,
                check=True,
            )
            assert matches(
                parsed(done.stdout.strip()), parsed(written.replace("/tmp/", f"{folder}/"))
            ), f"{command}\nprinted:\n{done.stdout}\noutput on the page:\n{written}"


def test_python_example_of_the_readme_prints_its_output(tmp_path):
    (code,) = blocks(README, "python")
    (written,) = re.findall(r"# (.+)", code)
    with running_service(tmp_path) as url:
        here = code.replace("http://127.0.0.1:5000", url)
        command = [sys.executable, "-c", here]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == written


def test_pytorch_example_exports_a_model_that_can_be_installed(tmp_path):
    if importlib.util.find_spec("torch") is None:
        require(False, "torch is not installed (make train-env)")
    (code,) = blocks(OWN_MODEL, "python")
    net = "net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48 * 48, 8))\n"
    script = f"import torch\n{net}{code}".replace("/tmp/", f"{tmp_path}/")
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, cwd=tmp_path)
    (card,) = blocks(OWN_MODEL, "json")
    (tmp_path / "card.json").write_text(card)
    installed = install(tmp_path / "own-model.onnx", tmp_path / "card.json", tmp_path / "models")
    assert installed.name == "my_net"


@pytest.mark.parametrize(
    ("printed", "written", "same"),
    [
        ({"a": 0.51}, {"a": 0.5}, True),
        ({"a": 0.6}, {"a": 0.5}, False),
        ({"a": 1}, {"b": 1}, False),
        ([1], [1, 2], False),
        ({"created_at": "x"}, {"created_at": "y"}, True),
        ("204", "201", False),
    ],
)
def test_comparison_detects_differences(printed, written, same):
    assert matches(printed, written) == same
