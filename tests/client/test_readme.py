"""The examples and commands of the client's README run as they stand."""

import re
import shlex
from pathlib import Path

import emotions
import pytest
from emotions.cli import main
from emotions.sources import SUFFIXES

from tests.client.test_with_service import PHOTO

README = (Path(__file__).parent.parent.parent / "client" / "README.md").read_text()


@pytest.mark.weights
def test_the_examples_run(service, tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 4
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    for name in ("photo.jpg", "pictures/a.jpg", "pictures/b.jpg"):
        Path(name).write_bytes(PHOTO.read_bytes())
    Path("pictures/none.jpg").write_bytes(b"no picture")
    # The service of this test is at another address than the examples'.
    initialise = emotions.EmotionClient.__init__
    monkeypatch.setattr(
        emotions.EmotionClient,
        "__init__",
        lambda self, _url="", **options: initialise(self, service, **options),
    )
    names: dict[str, object] = {}
    printed = []
    for block in blocks:
        exec(compile(block, "client/README.md", "exec"), names)
        printed.append(capsys.readouterr().out)
    assert printed[0].startswith("happiness 0.99") or printed[0].startswith("happiness 1.0")
    assert printed[1].count("['happiness']") == 2
    assert printed[1].count("failed: ") == 1
    assert "photo.jpg" in printed[2]
    assert Path("annotated.png").read_bytes().startswith(b"\x89PNG")
    assert printed[3].startswith("the picture: the content is not an image")


COMMANDS = re.findall(r"^emotions (.*)$", README, re.MULTILINE)


@pytest.mark.weights
def test_the_commands_run(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for name in ("photo.jpg", "party.jpg", "folder/a.jpg"):
        Path(name).write_bytes(PHOTO.read_bytes())
    # Endless, without a camera, of an image that is not there, and with a question.
    more = {"watch": ["--once", "--interval", "0.05"], "live": ["--help"]}
    for command in COMMANDS:
        arguments = shlex.split(command)
        question = ["--yes"] if arguments[:2] == ["delete", "--emotion"] else []
        done = run(*arguments, *more.get(arguments[0], []), *question)
        expected = 1 if arguments == ["delete", "17"] else 0
        assert done.exit_code == expected, f"{command}: {done.output}"
    assert len(COMMANDS) == 15
    assert Path("out/a.jpg.png").exists()


def test_every_command_and_suffix_is_told():
    assert {command.split()[0] for command in COMMANDS} == main.commands.keys()
    kinds = {"jpg", "jpe", "jfif", "tif", "hif"}  # other spellings
    for suffix in SUFFIXES:
        assert suffix[1:] in kinds or suffix[1:].upper() in README.upper()


def test_every_exception_is_told():
    told = set(re.findall(r"`(\w+)`", README))
    for name in emotions.__all__:
        kind = getattr(emotions, name)
        if isinstance(kind, type) and issubclass(kind, Exception) and name != "Problem":
            assert name in told, name
