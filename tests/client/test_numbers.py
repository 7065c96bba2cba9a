"""Numbers on the command line: plain ASCII decimal numbers, as in requests."""

import inspect

import pytest
from click.testing import CliRunner
from emotions import plain_numbers as clients
from emotions.cli import main

from app import plain_numbers
from tests.client.conftest import Answer
from tests.client.test_with_service import PHOTO
from tests.conftest import picture

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


def test_the_client_and_the_service_read_numbers_alike():
    service, client = (
        inspect.getsource(module).partition('"""\n\n')[2] for module in (plain_numbers, clients)
    )
    assert service == client


@pytest.mark.parametrize("text", WHOLE)
@pytest.mark.parametrize("command", WHOLE_OPTIONS)
def test_a_whole_number_has_one_spelling(scripted, command, text):
    done = CliRunner().invoke(main, ["--server", scripted.url, *command, text])
    assert (done.exit_code, scripted.requests) == (2, [])
    assert "is not a whole number such as 10" in done.stderr


@pytest.mark.parametrize("text", DECIMAL)
@pytest.mark.parametrize("command", DECIMAL_OPTIONS)
def test_a_decimal_number_has_one_spelling(scripted, command, text):
    more = ["models"] if command == ["--timeout"] else []
    done = CliRunner().invoke(main, ["--server", scripted.url, *command, text, *more])
    assert (done.exit_code, scripted.requests) == (2, [])
    assert "is not a decimal number such as 0.25" in done.stderr


@pytest.mark.parametrize("command", [["mood", str(PHOTO), "--min-face-px"], ["--timeout"]])
def test_an_infinite_number_is_too_large(scripted, command):
    done = CliRunner().invoke(main, ["--server", scripted.url, *command, "1e999"])
    assert (done.exit_code, scripted.requests) == (2, [])
    assert "is too large" in done.stderr


def test_numbers_in_their_spelling_are_taken(scripted):
    scripted.answers = [Answer(204, b"")]
    done = CliRunner().invoke(main, ["--server", scripted.url, "delete", "4", "10"])
    assert (done.exit_code, done.stdout) == (0, "erased 4\nerased 10\n")
    asked = ["--timeout", "2.5e1", "analyse", str(PHOTO), "--threshold", ".5", "--workers", "2"]
    scripted.answers = [Answer(404)]
    CliRunner().invoke(main, ["--server", scripted.url, *asked])
    assert b'name="threshold"\r\n\r\n0.5\r\n' in scripted.requests[-1].body


@pytest.mark.parametrize("text", DECIMAL)
def test_the_services_own_command_has_the_same_spelling(make_app, tmp_path, text):
    (tmp_path / "a.png").write_bytes(picture())
    run = make_app().test_cli_runner().invoke
    done = run(args=["analyse", str(tmp_path / "a.png"), "--threshold", text])
    assert (done.exit_code, "is not a decimal number" in done.stderr) == (2, True)


@pytest.mark.parametrize("text", WHOLE)
def test_the_days_of_a_key_have_the_same_spelling(make_app, text):
    run = make_app().test_cli_runner().invoke
    done = run(args=["keys", "create", "phone", "--right", "read", "--days", text])
    assert (done.exit_code, "is not a whole number" in done.stderr) == (2, True)
