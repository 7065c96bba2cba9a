"""The command `emotions` in a terminal, in a pipe, and with names that could break either."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from emotions.commands.output import safe

from tests.client.conftest import FACE, IMAGE, Answer, problem
from tests.client.terminal import COMMAND, SECONDS, Terminal
from tests.conftest import picture

LONG = "a rather long name of a photograph from the summer holidays of the year 2026.jpg"
FORMS = ["table", "json", "csv"]
ONCE = ["--once", "--interval", "0.05"]
BUFFERED = {name: text for name, text in os.environ.items() if name != "PYTHONUNBUFFERED"}
STYLES = re.compile(r"\x1b\[[0-9;]*m")
PAGE = {"images": [{**IMAGE, "file_name": LONG}], "next_cursor": None}


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", LONG):
        (tmp_path / name).write_bytes(picture())
    return tmp_path


def plain(lines):
    return [STYLES.sub("", line).rstrip() for line in lines]


def piped(*arguments, **environment):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        env=BUFFERED | environment,
        timeout=SECONDS,
        check=False,
    )


# ---------------------------------------------------------------- width


@pytest.mark.parametrize("columns", [60, 120])
def test_a_table_fits_the_terminal_and_cuts_no_name(scripted, folder, columns):
    status, lines = Terminal("--server", scripted.url, "analyse", folder, columns=columns).end()
    lines = plain(lines)
    assert status == 0
    assert max(map(len, lines)) <= columns
    assert ("box" in lines[0].split()) == (columns == 120)
    assert sum(line.split()[-5:-1] == ["7", "1", "anger", "0.70"] for line in lines) == (
        2 if columns == 120 else 0
    )
    assert sum(line.endswith(" 7     1  anger             0.70") for line in lines) == (
        2 if columns == 60 else 0
    )
    width = lines[0].index("image") - 4
    names = "".join(line[:width].strip() for line in lines[1:]).replace(" ", "")
    assert names == "".join(str(folder / name).replace(" ", "") for name in (LONG, "a.png"))


@pytest.mark.parametrize("columns", [60, 120])
def test_history_fits_the_terminal(scripted, columns):
    scripted.answers = [Answer(200, PAGE)]
    status, lines = Terminal("--server", scripted.url, "history", columns=columns).end()
    lines = plain(lines)
    assert status == 0
    assert max(map(len, lines)) <= columns
    assert lines[0].split() == ["image", "time", "(local)", "file", "model", "faces"]
    assert ("anger 0.70" in lines[1]) == (columns == 120)
    assert "anger" in lines[1]
    assert "0.70" in "".join(lines[1:])


@pytest.mark.parametrize("columns", [60, 120])
def test_a_summary_that_does_not_fit_names_the_counts(scripted, columns):
    labels = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]
    counts = {
        label: {"faces": number, "mean_probability": 0.1} for number, label in enumerate(labels)
    }
    span = {"span": "2026-05-04", "images": 9, "faces": 28, "emotions": counts}
    scripted.answers = [Answer(200, {"spans": [span]})]
    status, lines = Terminal("--server", scripted.url, "summary", columns=columns).end()
    lines = plain(lines)
    assert status == 0
    assert max(map(len, lines)) <= columns
    text = " ".join(" ".join(lines[1:]).split())
    if columns == 120:
        assert lines[0].split() == ["day", "images", "faces", *labels, "valence"]  # as fits
        assert text == "2026-05-04 9 28 0 1 2 3 4 5 6 7"
    else:
        assert text.startswith("2026-05-04 9 28 contempt 7, fear 6, ")


@pytest.mark.parametrize("columns", [60, 120])
def test_detectors_fit_the_terminal(scripted, columns):
    detector = {"name": "haar", "ready": True, "default": True, "description": "word " * 40}
    scripted.answers = [Answer(200, {"detectors": [detector]})]
    status, lines = Terminal("--server", scripted.url, "detectors", columns=columns).end()
    assert (status, max(map(len, plain(lines))) <= columns) == (0, True)
    assert " ".join(plain(lines)).count("word") == 40


def test_a_pipe_gets_whole_lines(scripted, folder):
    done = piped("--server", scripted.url, "analyse", folder)
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 3
    assert lines[1].startswith(f"{folder / LONG}  ")
    assert lines[1].endswith("2,2,30,40")
    assert b"\x1b" not in done.stdout


# ---------------------------------------------------------------- as it comes


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("command", ["analyse", "history"])
def test_rows_appear_before_all_is_done(scripted, folder, form, command):
    go_on = threading.Event()
    wait = {"before": lambda: go_on.wait(SECONDS)}
    if command == "analyse":
        asked = ["analyse", folder, "--workers", "1"]
        scripted.answers = [Answer(201, IMAGE), Answer(201, IMAGE, **wait)]
    else:
        asked = ["history"]
        first, last = {**PAGE, "next_cursor": "x"}, Answer(200, PAGE, **wait)
        spans = [Answer(200, {"spans": []})] if form == "csv" else []
        scripted.answers = [Answer(200, first), *spans, last]
    process = subprocess.Popen(
        [*COMMAND, "--server", scripted.url, *map(str, asked), "--format", form],
        stdout=subprocess.PIPE,
        env=BUFFERED,
    )
    try:
        lines = [process.stdout.readline() for _ in range(1 if form == "json" else 2)]
        assert all(LONG.encode() in line for line in lines[-1:])
        assert process.poll() is None
    finally:
        go_on.set()
        rest, _ = process.communicate(timeout=SECONDS)
    assert (process.returncode, len(rest.splitlines())) == (0, 1)


@pytest.mark.parametrize("form", FORMS)
def test_a_pipe_that_is_closed_ends_it_quietly(scripted, tmp_path, form):
    for number in range(30):
        (tmp_path / f"{number}.png").write_bytes(picture())
    command = f'"$@" --format {form} | head -1'
    done = subprocess.run(
        ["bash", "-c", command, "bash", *COMMAND, "--server", scripted.url, "analyse", tmp_path],
        capture_output=True,
        env=BUFFERED,
        timeout=SECONDS,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == b""
    assert len(scripted.requests) < 30


@pytest.mark.parametrize("form", FORMS)
def test_an_output_that_cannot_be_written_is_said(scripted, form):
    spans = [Answer(200, {"spans": []})] if form == "csv" else []
    for target, status, said in (
        (">/dev/full", 1, b"the output cannot be written: No space left on device\n"),
        (">&-", 0, b""),
    ):
        scripted.answers = [Answer(200, PAGE), *spans]
        done = subprocess.run(
            [
                "bash",
                "-c",
                f'"$@" --format {form} {target}',
                "bash",
                *COMMAND,
                "--server",
                scripted.url,
                "history",
            ],
            capture_output=True,
            env=BUFFERED,
            timeout=SECONDS,
            check=False,
        )
        assert (done.returncode, done.stderr) == (status, said)


# ---------------------------------------------------------------- Ctrl-C


def test_ctrl_c_ends_an_analysis_and_says_how_far_it_came(scripted, folder):
    go_on, waits = threading.Event(), threading.Event()

    def wait():
        waits.set()
        go_on.wait(SECONDS)

    scripted.answers = [Answer(201, IMAGE), Answer(201, IMAGE, before=wait)]
    terminal = Terminal("--server", scripted.url, "analyse", folder, "--workers", "1")
    terminal.read_until("0.70")
    assert waits.wait(SECONDS)
    terminal.type("\x03")
    terminal.read_until("^C")
    go_on.set()
    status, lines = terminal.end()
    assert status == 130
    assert lines[-1] == "interrupted: 1 of 2 images are done"
    assert "Traceback" not in terminal.text


def test_a_second_ctrl_c_ends_it_at_once(scripted, folder):
    go_on, waits = threading.Event(), threading.Event()

    def wait():
        waits.set()
        go_on.wait(SECONDS)

    scripted.answers = [Answer(201, IMAGE, before=wait)]
    terminal = Terminal("--server", scripted.url, "analyse", folder, "--workers", "1")
    try:
        assert waits.wait(SECONDS)
        for count in (1, 2):
            terminal.type("\x03")
            terminal.read_until("^C" * count)
            if count == 1:
                with pytest.raises(subprocess.TimeoutExpired):
                    terminal.process.wait(0.5)
        status, _ = terminal.end()
    finally:
        go_on.set()
    assert status == -signal.SIGINT
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize("form", FORMS)
def test_ctrl_c_ends_a_list(scripted, form):
    go_on, waits = threading.Event(), threading.Event()

    def wait():
        waits.set()
        go_on.wait(SECONDS)

    scripted.answers = [Answer(200, PAGE, before=wait)]
    terminal = Terminal("--server", scripted.url, "history", "--format", form)
    try:
        assert waits.wait(SECONDS)
        terminal.type("\x03")
        status, _ = terminal.end()
    finally:
        go_on.set()
    assert status == 130
    assert "Traceback" not in terminal.text


def test_watching_says_what_it_watches_and_ends_with_ctrl_c(scripted, folder):
    terminal = Terminal(
        "--server", scripted.url, "watch", folder, "--interval", "0.05", columns=500
    )
    terminal.read_until(f"watching {folder} and its subfolders, every 0.05 s; Ctrl-C ends;")
    terminal.read_until(f"{LONG}: anger")
    terminal.read_until("a.png: anger")
    terminal.type("\x03")
    status, lines = terminal.end()
    assert (status, lines[-1]) == (0, "2 sent, 0 given up")


# ---------------------------------------------------------------- questions


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1), ("", 1), ("\x03", 1)])
def test_erasing_by_filter_asks_first(scripted, answer, status):
    scripted.answers = [Answer(200, {"erased": 1})]
    terminal = Terminal("--server", scripted.url, "delete", "--emotion", "anger", columns=120)
    terminal.read_until("Erase every stored image with emotion 'anger'? [y/N]")
    if answer == "\x03":
        time.sleep(0.5)  # a signal before it reads would wait for the end of the line
    terminal.type(answer if answer == "\x03" else f"{answer}\r")
    ended, lines = terminal.end()
    assert (ended, len(scripted.requests)) == (status, 1 if status == 0 else 0)
    assert lines[-1].endswith("erased 1 image" if status == 0 else "Aborted!")


# ---------------------------------------------------------------- colours and encodings


@pytest.mark.parametrize("command", ["history", "summary", "watch", "analyse"])
def test_no_color_means_no_escape_codes(scripted, folder, command):
    answer = {"summary": {"spans": []}, "history": PAGE}.get(command)
    scripted.answers = [Answer(200, answer) if answer else problem(422, "undecodable-image")]
    asked = {"watch": [folder, *ONCE], "analyse": [folder]}.get(command, [])
    for environment, has_codes in (({"NO_COLOR": "1"}, False), ({}, True)):
        terminal = Terminal("--server", scripted.url, command, *asked, **environment)
        terminal.end()
        if command == "watch" and has_codes:
            continue  # it knows by now that these files are refused
        assert ("\x1b" in terminal.text) == has_codes
        assert "Traceback" not in terminal.text


STRANGE = ["\N{CJK UNIFIED IDEOGRAPH-4E2D}.png", os.fsdecode(b"\xff.png"), "\N{GRINNING FACE}.png"]
LATIN = {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.mark.parametrize("environment", [LATIN, ASCII])
@pytest.mark.parametrize("form", FORMS)
def test_names_that_the_encoding_does_not_have(scripted, tmp_path, environment, form):
    for name in STRANGE:
        (tmp_path / name).write_bytes(picture())
    asked = ["--server", scripted.url, "analyse", tmp_path, tmp_path / "\N{SNOWMAN}.png"]
    done = piped(*asked, "--format", form, **environment)
    assert done.returncode == 1  # the snowman is missing, and named
    assert b"Traceback" not in done.stderr
    assert b"1 of 4 images failed" in done.stderr
    assert len(done.stdout.splitlines()) == (3 if form == "json" else 4)
    status, lines = Terminal(*asked, "--format", form, columns=200, **environment).end()
    assert status == 1
    assert not any("Traceback" in line for line in lines)


# ---------------------------------------------------------------- hostile names

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
def test_a_name_cannot_control_the_terminal(scripted, tmp_path, form, command):
    (tmp_path / HOSTILE).write_bytes(picture())
    refusal = problem(422, "undecodable-image", f"damaged: {HOSTILE}")
    scripted.answers = [{
        "history": Answer(200, {"images": [{**IMAGE, "file_name": HOSTILE}], "next_cursor": None}),
        "failing": refusal,
    }.get(command, Answer(201, {**IMAGE, "file_name": HOSTILE}))]  # fmt: skip
    if command == "history" and form == "csv":
        scripted.answers.append(Answer(200, {"spans": []}))
    asked = {"history": ["history"], "watch": ["watch", tmp_path, *ONCE]}.get(
        command, ["analyse", tmp_path]
    )
    if command == "watch":
        asked += ["--json"] if form == "json" else []
    else:
        asked += ["--format", form]
    terminal = Terminal("--server", scripted.url, *asked, columns=120, NO_COLOR="1")
    terminal.end()
    for sign in "\x1b\x07\x9b\u202e":
        assert sign not in terminal.text
    assert "\r" not in re.sub("\r+\n", "\n", terminal.text)  # CSV has \r\n at the ends of lines
    assert "\nb" not in terminal.text
    assert "Traceback" not in terminal.text


def test_a_pipe_gets_names_as_they_are_in_csv(scripted, tmp_path):
    (tmp_path / HOSTILE).write_bytes(picture())
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
def test_names_of_all_languages_stay_as_they_are(text):
    assert safe(text) == text


def test_what_is_escaped():
    assert safe("a\nb\x1b\x9b\u2028\udcff\u202e") == "a\\nb\\x1b\\x9b\\u2028\\udcff\\u202e"


def test_a_face_without_a_box_in_its_place(scripted, folder):
    scripted.answers = [Answer(201, {**IMAGE, "faces": [], "id": None})]
    done = piped("--server", scripted.url, "analyse", folder / "a.png")
    assert done.stdout.decode().splitlines()[1].split() == [str(folder / "a.png"), "none"]
    scripted.answers = [Answer(201, {**IMAGE, "faces": [FACE] * 3})]
    done = piped("--server", scripted.url, "analyse", folder / "a.png", "--format", "csv")
    assert len(done.stdout.splitlines()) == 4


@pytest.mark.parametrize("on_terminal", [True, False])
def test_a_missing_value_of_csv_is_empty(scripted, folder, on_terminal):
    scripted.answers = [Answer(201, {**IMAGE, "id": None})]
    asked = ["--server", scripted.url, "analyse", folder / "a.png", "--no-store", "--format", "csv"]
    if on_terminal:
        lines = plain(Terminal(*asked, columns=200).end()[1])
    else:
        lines = piped(*asked).stdout.decode().splitlines()
    assert lines[1].split(",")[1:3] == ["", "1"]
