"""The tour in the README, run as it is written, against the real service.

A ```console block holds commands behind `$ ` and what they print. JSON is compared with a
tolerance for numbers; what differs at every run (times, ids of requests, milliseconds) is not.
"""

import csv
import io
import json
import re
import subprocess

import pytest

from app.settings import ROOT
from tests.service import running_service

pytestmark = pytest.mark.weights
README = (ROOT / "README.md").read_text("utf-8")
CHANGES_EACH_TIME = {"created_at", "request_id", "timings_ms", "span"}
TOLERANCE = 0.02


def tour():
    """(command, printed) for every command of the README's console blocks, in order."""
    for block in re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = step.split("\n")
            command = []
            while lines:
                command.append(lines.pop(0))
                if not command[-1].endswith("\\"):
                    break
            yield "\n".join(command), "\n".join(lines).strip()


def alike(printed, written):
    if isinstance(written, dict):
        return printed.keys() == written.keys() and all(
            key in CHANGES_EACH_TIME or alike(printed[key], written[key]) for key in written
        )
    if isinstance(written, list):
        return len(printed) == len(written) and all(map(alike, printed, written))
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
    return text


def test_the_tour_prints_what_the_readme_says(tmp_path):
    steps = list(tour())
    assert len(steps) >= 6
    with running_service(tmp_path) as url:
        for command, written in steps:
            here = command.replace("http://127.0.0.1:5000", url)
            done = subprocess.run(
                ["bash", "-c", here], cwd=ROOT, capture_output=True, text=True, check=True
            )
            assert alike(parsed(done.stdout.strip()), parsed(written)), (
                f"{command}\nprinted:\n{done.stdout}\nthe README says:\n{written}"
            )


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
def test_the_comparison_can_fail(printed, written, same):
    assert alike(printed, written) == same


def test_every_make_target_of_the_readme_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"\bmake ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
