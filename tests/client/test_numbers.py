"""Numbers on the command line must be plain ASCII decimal numbers."""

import inspect

import pytest
from click.testing import CliRunner
from emotions import plain_numbers as clients
from emotions.cli import main

from app import plain_numbers
from tests.client.conftest import PHOTO, Response
from tests.conftest import image_file

WHOLE = ["1_0", "\N{ARABIC-INDIC DIGIT THREE}", "+6", " 4", "4 ", "4\n", "0x4", "4.0", "", "1e1"]
DECIMAL = ["1e-1_0", " 0.5", "+0.5", "0.5\n", "0_0.5", "1.", "nan", "inf", "\uff10.5", "", "0x1p-2"]
WHOLE_OPTIONS = [
    ["delete"], ["analyse", str(PHOTO), "--workers"], ["history", "--limit"],
    ["history", "--min-faces"], ["live", "--camera"],
]  # fmt: skip
DECIMAL_OPTIONS = [
    ["analyse", str(PHOTO), "--threshold"], ["analyse", str(PHOTO), "--min-confidence"],
    ["mood", str(PHOTO), "--min-face-px"], ["watch", ".", "--interval"],
    ["history", "--min-probability"], ["live", "--threshold"], ["--timeout"],
]  # fmt: skip


def test_client_and_service_have_same_number_parser():
    service, client = (
        inspect.getsource(module).partition('"""\n\n')[2] for module in (plain_numbers, clients)
    )
    assert service == client


@pytest.mark.parametrize("text", WHOLE)
@pytest.mark.parametrize("command", WHOLE_OPTIONS)
def test_invalid_whole_number_is_rejected(scripted, command, text):
    done = CliRunner().invoke(main, ["--server", scripted.url, *command, text])
    assert (done.exit_code, scripted.requests) == (2, [])
    assert "is not a whole number such as 10" in done.stderr


@pytest.mark.parametrize("text", DECIMAL)
@pytest.mark.parametrize("command", DECIMAL_OPTIONS)
def test_invalid_decimal_number_is_rejected(scripted, command, text):
    more = ["models"] if command == ["--timeout"] else []
    done = CliRunner().invoke(main, ["--server", scripted.url, *command, text, *more])
    assert (done.exit_code, scripted.requests) == (2, [])
    assert "is not a decimal number such as 0.25" in done.stderr


@pytest.mark.parametrize("command", [["mood", str(PHOTO), "--min-face-px"], ["--timeout"]])
def test_infinite_number_is_rejected_as_too_large(scripted, command):
    done = CliRunner().invoke(main, ["--server", scripted.url, *command, "1e999"])
    assert (done.exit_code, scripted.requests) == (2, [])
    assert "is too large" in done.stderr


def test_valid_numbers_are_accepted(scripted):
    scripted.responses = [Response(204, b"")]
    done = CliRunner().invoke(main, ["--server", scripted.url, "delete", "4", "10"])
    assert (done.exit_code, done.stdout) == (0, "deleted 4\ndeleted 10\n")
    arguments = ["--timeout", "2.5e1", "analyse", str(PHOTO), "--threshold", ".5", "--workers", "2"]
    scripted.responses = [Response(404)]
    CliRunner().invoke(main, ["--server", scripted.url, *arguments])
    assert b'name="threshold"\r\n\r\n0.5\r\n' in scripted.requests[-1].body


@pytest.mark.parametrize("text", DECIMAL)
def test_service_command_rejects_same_decimal_numbers(make_app, tmp_path, text):
    (tmp_path / "a.png").write_bytes(image_file())
    run = make_app().test_cli_runner().invoke
    done = run(args=["analyse", str(tmp_path / "a.png"), "--threshold", text])
    assert (done.exit_code, "is not a decimal number" in done.stderr) == (2, True)


@pytest.mark.parametrize("text", WHOLE)
def test_keys_command_rejects_same_whole_numbers(make_app, text):
    run = make_app().test_cli_runner().invoke
    done = run(args=["keys", "create", "phone", "--right", "read", "--days", text])
    assert (done.exit_code, "is not a whole number" in done.stderr) == (2, True)
