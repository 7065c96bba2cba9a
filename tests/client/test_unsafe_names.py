"""File names with control characters, and outside the encoding of the terminal."""

import csv
import io
import json
import os
import re
from pathlib import Path

import pytest
from emotions.commands.output import safe

from tests.client.conftest import ANALYSIS, Response, problem
from tests.client.terminal import FORMS, ONCE, Terminal, piped
from tests.conftest import image_file

STRANGE = ["\N{CJK UNIFIED IDEOGRAPH-4E2D}.png", os.fsdecode(b"\xff.png"), "\N{GRINNING FACE}.png"]
LATIN = {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.mark.parametrize("environment", [LATIN, ASCII])
@pytest.mark.parametrize("form", FORMS)
def test_names_outside_terminal_encoding_are_escaped(scripted, tmp_path, environment, form):
    for name in STRANGE:
        (tmp_path / name).write_bytes(image_file())
    arguments = ["--server", scripted.url, "analyse", tmp_path, tmp_path / "\N{SNOWMAN}.png"]
    done = piped(*arguments, "--format", form, **environment)
    assert done.returncode == 1  # the file with the snowman is missing and reported
    assert b"Traceback" not in done.stderr
    assert b"1 of 4 images failed" in done.stderr
    assert len(done.stdout.splitlines()) == (3 if form == "json" else 4)
    status, lines = Terminal(*arguments, "--format", form, columns=200, **environment).end()
    assert status == 1
    assert not any("Traceback" in line for line in lines)


HOSTILE = "a\nb\r\x1b[31mred\x1b]0;title\x07\x9b2J\u202egnp.png"


@pytest.mark.parametrize(
    ("command", "form"),
    [
        *((command, form) for command in ("analyse", "history") for form in FORMS),
        ("failing", "table"),
        ("watch", "table"),
        ("watch", "json"),
    ],
)
def test_control_characters_of_names_are_escaped_on_terminal(scripted, tmp_path, form, command):
    (tmp_path / HOSTILE).write_bytes(image_file())
    refusal = problem(422, "undecodable-image", f"damaged: {HOSTILE}")
    hostile_page = {"images": [{**ANALYSIS, "file_name": HOSTILE}], "next_cursor": None}
    scripted.responses = [{
        "history": Response(200, hostile_page),
        "failing": refusal,
    }.get(command, Response(201, {**ANALYSIS, "file_name": HOSTILE}))]  # fmt: skip
    if command == "history" and form == "csv":
        scripted.responses.append(Response(200, {"spans": []}))
    arguments = {"history": ["history"], "watch": ["watch", tmp_path, *ONCE]}.get(
        command, ["analyse", tmp_path]
    )
    if command == "watch":
        arguments += ["--json"] if form == "json" else []
    else:
        arguments += ["--format", form]
    terminal = Terminal("--server", scripted.url, *arguments, columns=120, NO_COLOR="1")
    terminal.end()
    for character in "\x1b\x07\x9b\u202e":
        assert character not in terminal.text
    assert "\r" not in re.sub("\r+\n", "\n", terminal.text)  # CSV has \r\n at the ends of lines
    assert "\nb" not in terminal.text
    assert "Traceback" not in terminal.text


def test_piped_csv_and_json_have_unchanged_names(scripted, tmp_path):
    (tmp_path / HOSTILE).write_bytes(image_file())
    done = piped("--server", scripted.url, "analyse", tmp_path, "--format", "csv")
    _, row = csv.reader(io.StringIO(done.stdout.decode(), newline=""))
    assert Path(row[0]).name == HOSTILE
    done = piped("--server", scripted.url, "analyse", tmp_path, "--format", "json")
    assert Path(json.loads(done.stdout)["path"]).name == HOSTILE


@pytest.mark.parametrize(
    "text",
    [
        "ä ö ü.jpg",
        "back\\slash.jpg",
        "Screenshot 9.41\u202fAM.png",
        "\u5bb6\u65cf\u3000\u5199\u771f.jpg",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467.png",
        "\u0645\u0631\u062d\u0628\u0627.png",
    ],
)
def test_safe_keeps_text_of_all_languages(text):
    assert safe(text) == text


def test_safe_escapes_control_characters():
    assert safe("a\nb\x1b\x9b\u2028\udcff\u202e") == "a\\nb\\x1b\\x9b\\u2028\\udcff\\u202e"
