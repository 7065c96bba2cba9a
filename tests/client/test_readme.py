"""The examples and commands of the client's README run unchanged."""

import re
import shlex
from pathlib import Path

import emotions
import pytest
from emotions.cli import main
from emotions.sources import SUFFIXES

from tests.client.conftest import PHOTO

README = (Path(__file__).parent.parent.parent / "client" / "README.md").read_text()


@pytest.mark.weights
def test_readme_examples_run(service, tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(blocks) == 4
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for name in ("photo.jpg", "images/a.jpg", "images/b.jpg"):
        Path(name).write_bytes(PHOTO.read_bytes())
    Path("images/none.jpg").write_bytes(b"no image")
    # Replace the address of the examples by that of the test service.
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
    assert printed[3].startswith("invalid image: the content is not an image")


COMMANDS = re.findall(r"^emotions (.*)$", README, re.MULTILINE)


@pytest.mark.weights
def test_readme_commands_run(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for name in ("photo.jpg", "party.jpg", "folder/a.jpg"):
        Path(name).write_bytes(PHOTO.read_bytes())
    # `watch` would run until Ctrl-C, `live` needs a camera, and `delete --emotion` would ask.
    extra = {"watch": ["--once", "--interval", "0.05"], "live": ["--help"]}
    for command in COMMANDS:
        arguments = shlex.split(command)
        confirmation = ["--yes"] if arguments[:2] == ["delete", "--emotion"] else []
        done = run(*arguments, *extra.get(arguments[0], []), *confirmation)
        expected = 1 if arguments == ["delete", "17"] else 0  # there is no image 17
        assert done.exit_code == expected, f"{command}: {done.output}"
    assert len(COMMANDS) == 16
    assert Path("out/a.jpg.png").exists()


def test_readme_lists_every_command_and_suffix():
    assert {command.split()[0] for command in COMMANDS} == main.commands.keys()
    kinds = {"jpg", "jpe", "jfif", "tif", "hif"}  # other spellings
    for suffix in SUFFIXES:
        assert suffix[1:] in kinds or suffix[1:].upper() in README.upper()


def test_readme_lists_every_exception():
    listed = set(re.findall(r"`(\w+)`", README))
    for name in emotions.__all__:
        kind = getattr(emotions, name)
        if isinstance(kind, type) and issubclass(kind, Exception) and name != "Problem":
            assert name in listed, name
