"""Error messages and exit statuses of the command `emotions`."""

import pytest
from click.testing import CliRunner
from emotions import transport
from emotions.cli import main

from tests.client.conftest import PHOTO, Response, problem, unknown_option
from tests.conftest import image_file

pytestmark = pytest.mark.weights


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["analyse"], 2, "Missing argument"),
        (["analyse", str(PHOTO), "--threshold", "2"], 2, "not in the range"),
        (["analyse", str(PHOTO), "--model", "none"], 1, "unknown model"),
        (["history", "--since", "yesterday"], 1, "since"),
        (["summary", "--emotion", "x", "--min-probability", "9"], 2, "not in the range"),
        (["delete", "0"], 2, "not in the range"),
        (["delete"], 2, "at least one filter"),
        (["delete", "7", "--emotion", "anger"], 2, "at least one filter"),
        (["delete", "--emotion", "anger"], 2, "pass --yes"),
        (["--key", "a\nb", "models"], 2, "Invalid value for --key"),
        (["--timeout", "0", "models"], 2, "not in the range"),
        (["watch", "no such folder"], 2, "does not exist"),
    ],
)
def test_invalid_command_line_prints_message(run, arguments, status, message):
    done = run(*arguments)
    assert done.exit_code == status
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_server_without_scheme_is_rejected():
    done = CliRunner().invoke(main, ["--server", "localhost:5000", "summary"])
    assert (done.exit_code, "must begin with http://" in done.stderr) == (2, True)


def test_analyse_stops_if_service_is_unreachable(tmp_path, monkeypatch):
    monkeypatch.setattr(transport, "FIRST_PAUSE", 0.001)
    for number in range(40):
        (tmp_path / f"{number}.png").write_bytes(image_file())
    done = CliRunner().invoke(main, ["--server", "http://127.0.0.1:1", "analyse", str(tmp_path)])
    assert done.exit_code == 1
    assert done.stderr.endswith("1 of 40 images failed, 39 were skipped\n")
    assert "cannot be reached" in done.stderr


@pytest.mark.parametrize("command", [["analyse", str(PHOTO)], ["mood", str(PHOTO)], ["history"],
                                     ["summary"], ["delete", "7"], ["models"]])  # fmt: skip
@pytest.mark.parametrize("name", ["missing-key", "wrong-key"])
def test_message_of_rejected_key_names_key_option(scripted, command, name):
    scripted.responses = [problem(401, name, "the key is not valid")]
    done = CliRunner().invoke(main, ["--server", scripted.url, *command])
    assert done.exit_code == 1
    expected = "the key is not valid (pass the API key with --key or in the variable EMOTIONS_KEY)"
    assert expected in done.stderr
    assert len(scripted.requests) == 1


@pytest.mark.parametrize("field", ["model", "detector", "pipeline", "threshold", "mood"])
def test_invalid_option_is_reported_once(run_stub, scripted, tmp_path, field):
    for number in range(30):
        (tmp_path / f"{number}.png").write_bytes(image_file())
    scripted.responses = [unknown_option(field)]
    done = run_stub("analyse", tmp_path)
    assert done.exit_code == 1
    assert done.stderr.count(f"unknown {field}") == 1
    assert done.stderr.endswith("1 of 30 images failed, 29 were skipped\n")


@pytest.mark.parametrize(("field", "name"), [("image", "about"), ("detector", "too-much-work")])
def test_image_specific_error_does_not_stop_other_images(run_stub, scripted, tmp_path, field, name):
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(image_file())
    scripted.responses = [unknown_option(field, name)]
    assert run_stub("analyse", tmp_path).stderr.endswith("5 of 5 images failed\n")


@pytest.mark.parametrize("form", ["table", "csv", "json"])
@pytest.mark.parametrize("response", [problem(403, "missing-right"), Response(200, {"images": 1})])
def test_history_error_prints_no_header(run_stub, scripted, form, response):
    scripted.responses = [response]
    done = run_stub("history", "--format", form)
    assert (done.exit_code, done.stdout) == (1, "")


@pytest.mark.parametrize("command", ["history", "summary", "models"])
def test_message_of_unknown_path_names_server_option(run, service, command):
    done = CliRunner().invoke(main, ["--server", f"{service}/wrong", command])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "--server" in done.stderr
    assert "EMOTIONS_SERVER" in done.stderr


def test_message_of_unknown_image_does_not_name_server_option(run):
    assert "--server" not in run("delete", 10**9).stderr


def test_message_of_other_server_names_server_option(run_stub, scripted):
    for response in (Response(404, b"<h1>no"), Response(301, b"", {"Location": "http://x/"})):
        scripted.responses = [response]
        assert "--server" in run_stub("models").stderr


def test_message_of_credentials_in_address_names_key_option():
    done = CliRunner().invoke(main, ["--server", "http://me:secret@127.0.0.1", "models"])
    assert done.exit_code == 2
    assert "pass the API key as --key" in done.stderr
    for word in ("api_key", "base_url", "secret"):
        assert word not in done.output
