"""The examples, run against the real service, which asks for a key."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import requests

from app import create_app
from app.keys import issue
from app.settings import ROOT, Settings
from app.store.keys import Right
from testbed.service import Service
from tests.conftest import require

pytestmark = pytest.mark.weights
EXAMPLES = ROOT / "examples"
PHOTO = "docs/astronaut.jpg"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """URL and KEY of a service that is ready."""
    folder = tmp_path_factory.mktemp("examples")
    service = Service(folder)
    with create_app(Settings(database_url=f"sqlite:///{folder / 'service.db'}")).app_context():
        key = issue("examples", [Right.ANALYSE, Right.READ, Right.ERASE])
    service.start()
    yield os.environ | {"URL": service.url, "KEY": key}
    service.stop()


def run(environment, *command):
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def stored(environment):
    headers = {"Authorization": f"Bearer {environment['KEY']}"}
    answer = requests.get(f"{environment['URL']}/v1/images", headers=headers, timeout=10)
    return answer.json()["images"]


def test_curl_posts_reads_and_erases(environment):
    done = run(environment, "examples/curl.sh", PHOTO)
    assert done.returncode == 0, done.stderr
    decoder, texts = json.JSONDecoder(), re.split(r"^[a-z].*\n", done.stdout, flags=re.MULTILINE)
    posted, full, lower = (decoder.decode(text) for text in texts[:3])
    assert posted["threshold"] == 0.2
    assert full["faces"][0]["dominant"] == "happiness"
    assert lower["threshold"] == 0.05
    assert done.stdout.endswith("deleted\n")
    assert stored(environment) == []


def test_curl_says_what_is_wrong(environment):
    done = run(environment, "examples/curl.sh", "README.md")
    assert done.returncode != 0
    assert "not an image of a supported type" in done.stdout
    assert environment["KEY"] not in done.stdout + done.stderr


def test_node_prints_a_line_for_each_face(environment):
    require(shutil.which("node"), "no Node: .ci/services installs it")
    done = run(environment, "node", "examples/client.mjs", PHOTO, "README.md", "nowhere.jpg")
    assert done.stdout == f"{PHOTO}: happiness 100 % at 173, 63\n"
    assert "README.md: 415: the content is not an image" in done.stderr
    assert "nowhere.jpg: ENOENT" in done.stderr
    assert done.returncode == 1
    assert stored(environment) == []


def test_the_notebook_counts_and_draws(environment, monkeypatch, capsys):
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    notebook = json.loads((EXAMPLES / "emotions.ipynb").read_text("utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    for name in ("URL", "KEY"):
        monkeypatch.setenv(name, environment[name])
    monkeypatch.chdir(EXAMPLES)  # where Jupyter runs it
    monkeypatch.setattr(plt, "show", lambda: None)
    names = {}
    for cell in cells:
        exec("".join(cell["source"]), names)
    printed = capsys.readouterr().out
    assert re.search(r"^images: \d, faces: 1$", printed, re.MULTILINE)
    assert re.search(r"^happiness +1$", printed, re.MULTILINE)
    bars = plt.gcf().axes[0].patches
    assert len(bars) == 8
    assert sum(bar.get_width() for bar in bars) == pytest.approx(1, abs=0.01)
    plt.close("all")


def test_the_original_client_is_answered(environment):
    done = run(environment, sys.executable, "examples/original_client.py", PHOTO)
    assert done.stdout.startswith("200 {")
    assert "'message': 'image received'" in done.stdout
    assert "'happiness': 1.0" in done.stdout
    assert [image["file_name"] for image in stored(environment)] == ["astronaut.jpg"]


def test_all_examples_are_in_their_list():
    listed = set(re.findall(r"\]\(([\w.]+)\)", (EXAMPLES / "README.md").read_text("utf-8")))
    assert listed == {path.name for path in EXAMPLES.iterdir()} - {"README.md"}
