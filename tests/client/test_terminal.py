"""The command `emotions` in a terminal and in a pipe: tables, streaming, Ctrl-C and colours."""

import re
import signal
import subprocess
import threading
import time

import pytest

from tests.client.conftest import ANALYSIS, FACE, Response, problem
from tests.client.terminal import BUFFERED, COMMAND, FORMS, ONCE, SECONDS, Terminal, piped
from tests.conftest import image_file

LONG = "a rather long name of an image of the last summer holidays in the year 2026.jpg"
STYLES = re.compile(r"\x1b\[[0-9;]*m")
PAGE = {"images": [{**ANALYSIS, "file_name": LONG}], "next_cursor": None}


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", LONG):
        (tmp_path / name).write_bytes(image_file())
    return tmp_path


def plain(lines):
    return [STYLES.sub("", line).rstrip() for line in lines]


# ---------------------------------------------------------------- width


@pytest.mark.parametrize("columns", [60, 120])
def test_analyse_table_fits_terminal_without_truncating_names(scripted, folder, columns):
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
def test_history_table_fits_terminal(scripted, columns):
    scripted.responses = [Response(200, PAGE)]
    status, lines = Terminal("--server", scripted.url, "history", columns=columns).end()
    lines = plain(lines)
    assert status == 0
    assert max(map(len, lines)) <= columns
    assert lines[0].split() == ["image", "time", "(local)", "file", "model", "faces"]
    assert ("anger 0.70" in lines[1]) == (columns == 120)
    assert "anger" in lines[1]
    assert "0.70" in "".join(lines[1:])


@pytest.mark.parametrize("columns", [60, 120])
def test_summary_lists_counts_if_columns_do_not_fit(scripted, columns):
    labels = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]
    counts = {
        label: {"faces": number, "mean_probability": 0.1} for number, label in enumerate(labels)
    }
    span = {"span": "2026-05-04", "images": 9, "faces": 28, "emotions": counts}
    scripted.responses = [Response(200, {"spans": [span]})]
    status, lines = Terminal("--server", scripted.url, "summary", columns=columns).end()
    lines = plain(lines)
    assert status == 0
    assert max(map(len, lines)) <= columns
    text = " ".join(" ".join(lines[1:]).split())
    if columns == 120:
        # The columns of valence and arousal are optional; one of them fits.
        assert lines[0].split() == ["day", "images", "faces", *labels, "valence"]
        assert text == "2026-05-04 9 28 0 1 2 3 4 5 6 7"
    else:
        assert text.startswith("2026-05-04 9 28 contempt 7, fear 6, ")


@pytest.mark.parametrize("columns", [60, 120])
def test_detectors_table_fits_terminal(scripted, columns):
    detector = {"name": "haar", "ready": True, "default": True, "description": "word " * 40}
    scripted.listings["/v1/detectors"] = Response(200, {"detectors": [detector]})
    status, lines = Terminal("--server", scripted.url, "detectors", columns=columns).end()
    assert (status, max(map(len, plain(lines))) <= columns) == (0, True)
    assert " ".join(plain(lines)).count("word") == 40


def test_piped_table_is_not_truncated(scripted, folder):
    done = piped("--server", scripted.url, "analyse", folder)
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 3
    assert lines[1].startswith(f"{folder / LONG}  ")
    assert lines[1].endswith("2,2,30,40")
    assert b"\x1b" not in done.stdout


# ---------------------------------------------------------------- streaming


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("command", ["analyse", "history"])
def test_rows_are_printed_before_last_response(scripted, folder, form, command):
    go_on = threading.Event()
    wait = {"before": lambda: go_on.wait(SECONDS)}
    if command == "analyse":
        arguments = ["analyse", folder, "--workers", "1"]
        scripted.responses = [Response(201, ANALYSIS), Response(201, ANALYSIS, **wait)]
    else:
        arguments = ["history"]
        first, last = {**PAGE, "next_cursor": "x"}, Response(200, PAGE, **wait)
        spans = [Response(200, {"spans": []})] if form == "csv" else []
        scripted.responses = [Response(200, first), *spans, last]
    process = subprocess.Popen(
        [*COMMAND, "--server", scripted.url, *map(str, arguments), "--format", form],
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
def test_closed_pipe_ends_command_without_message(scripted, tmp_path, form):
    for number in range(30):
        (tmp_path / f"{number}.png").write_bytes(image_file())
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
def test_full_disk_is_reported(scripted, form):
    spans = [Response(200, {"spans": []})] if form == "csv" else []
    for target, status, message in (
        (">/dev/full", 1, b"the output cannot be written: No space left on device\n"),
        (">&-", 0, b""),
    ):
        scripted.responses = [Response(200, PAGE), *spans]
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
        assert (done.returncode, done.stderr) == (status, message)


# ---------------------------------------------------------------- Ctrl-C


def test_ctrl_c_ends_analyse_and_prints_progress(scripted, folder):
    go_on, waits = threading.Event(), threading.Event()

    def wait():
        waits.set()
        go_on.wait(SECONDS)

    scripted.responses = [Response(201, ANALYSIS), Response(201, ANALYSIS, before=wait)]
    terminal = Terminal("--server", scripted.url, "analyse", folder, "--workers", "1")
    terminal.read_until("0.70")
    assert waits.wait(SECONDS)
    terminal.type("\x03")
    terminal.read_until("^C")
    go_on.set()
    status, lines = terminal.end()
    assert status == 130
    assert lines[-1] == "interrupted: 1 of 2 images were processed"
    assert "Traceback" not in terminal.text


def test_second_ctrl_c_ends_command_immediately(scripted, folder):
    go_on, waits = threading.Event(), threading.Event()

    def wait():
        waits.set()
        go_on.wait(SECONDS)

    scripted.responses = [Response(201, ANALYSIS, before=wait)]
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
def test_ctrl_c_ends_history(scripted, form):
    go_on, waits = threading.Event(), threading.Event()

    def wait():
        waits.set()
        go_on.wait(SECONDS)

    scripted.responses = [Response(200, PAGE, before=wait)]
    terminal = Terminal("--server", scripted.url, "history", "--format", form)
    try:
        assert waits.wait(SECONDS)
        terminal.type("\x03")
        status, _ = terminal.end()
    finally:
        go_on.set()
    assert status == 130
    assert "Traceback" not in terminal.text


def test_watch_prints_folder_and_exits_on_ctrl_c(scripted, folder):
    terminal = Terminal(
        "--server", scripted.url, "watch", folder, "--interval", "0.05", columns=500
    )
    terminal.read_until(
        f"watching {folder} and its subfolders, every 0.05 s; press Ctrl-C to exit;"
    )
    terminal.read_until(f"{LONG}: anger")
    terminal.read_until("a.png: anger")
    terminal.type("\x03")
    status, lines = terminal.end()
    assert (status, lines[-1]) == (0, "2 sent, 0 failed")


# ---------------------------------------------------------------- confirmation


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1), ("", 1), ("\x03", 1)])
def test_delete_by_filter_asks_for_confirmation(scripted, answer, status):
    scripted.responses = [Response(200, {"erased": 1})]
    terminal = Terminal("--server", scripted.url, "delete", "--emotion", "anger", columns=120)
    terminal.read_until("Delete every stored image with emotion 'anger'? [y/N]")
    if answer == "\x03":
        time.sleep(0.5)  # before the process reads, a signal would wait for the end of the line
    terminal.type(answer if answer == "\x03" else f"{answer}\r")
    ended, lines = terminal.end()
    assert (ended, len(scripted.requests)) == (status, 1 if status == 0 else 0)
    assert lines[-1].endswith("deleted 1 image" if status == 0 else "Aborted!")


# ---------------------------------------------------------------- colours


@pytest.mark.parametrize("command", ["history", "summary", "watch", "analyse"])
def test_no_color_disables_escape_codes(scripted, folder, command):
    document = {"summary": {"spans": []}, "history": PAGE}.get(command)
    scripted.responses = [
        Response(200, document) if document else problem(422, "undecodable-image")
    ]
    arguments = {"watch": [folder, *ONCE], "analyse": [folder]}.get(command, [])
    for environment, has_codes in (({"NO_COLOR": "1"}, False), ({}, True)):
        terminal = Terminal("--server", scripted.url, command, *arguments, **environment)
        terminal.end()
        if command == "watch" and has_codes:
            continue  # the state file already records that these files failed
        assert ("\x1b" in terminal.text) == has_codes
        assert "Traceback" not in terminal.text


# ---------------------------------------------------------------- cells


def test_image_without_faces_has_one_row(scripted, folder):
    scripted.responses = [Response(201, {**ANALYSIS, "faces": [], "id": None})]
    done = piped("--server", scripted.url, "analyse", folder / "a.png")
    assert done.stdout.decode().splitlines()[1].split() == [str(folder / "a.png"), "none"]
    scripted.responses = [Response(201, {**ANALYSIS, "faces": [FACE] * 3})]
    done = piped("--server", scripted.url, "analyse", folder / "a.png", "--format", "csv")
    assert len(done.stdout.splitlines()) == 4


@pytest.mark.parametrize("on_terminal", [True, False])
def test_missing_csv_value_is_empty(scripted, folder, on_terminal):
    scripted.responses = [Response(201, {**ANALYSIS, "id": None})]
    arguments = [
        "--server",
        scripted.url,
        "analyse",
        folder / "a.png",
        "--no-store",
        "--format",
        "csv",
    ]
    if on_terminal:
        lines = plain(Terminal(*arguments, columns=200).end()[1])
    else:
        lines = piped(*arguments).stdout.decode().splitlines()
    assert lines[1].split(",")[1:3] == ["", "1"]
