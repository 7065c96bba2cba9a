"""The commands print one clear error for unusable models and data, without a traceback."""

import sys

import pytest

from app.settings import ROOT
from evaluation import accuracy, compare, field, speed
from tests.conftest import write_model
from tests.graphs import write_graph_model

COMMITTED = ROOT / "models" / "custom_net_8"


def run(monkeypatch, module, *arguments):
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    module.main()


@pytest.mark.parametrize("module", [accuracy, compare, field, speed])
def test_command_names_folder_without_model(monkeypatch, tmp_path, module):
    with pytest.raises(
        SystemExit, match=r"^error: model .nothing. has no readable card\.json: No such"
    ):
        run(monkeypatch, module, tmp_path / "nothing")


@pytest.mark.parametrize("module", [accuracy, field])
def test_command_names_missing_data(monkeypatch, tmp_path, module):
    folder = write_graph_model(tmp_path / "mine")
    with pytest.raises(SystemExit, match=r"^error: .*nowhere"):
        run(monkeypatch, module, folder, "--data", tmp_path / "nowhere")


def test_compare_leaves_out_model_without_figures(monkeypatch, tmp_path, capsys):
    (tmp_path / "docs").mkdir()
    for path in compare.SUMMARIES:
        (tmp_path / path).write_text("before <!-- models -->old<!-- /models --> after")
    monkeypatch.chdir(tmp_path)
    mine = write_model(tmp_path / "models", "mine")
    with pytest.raises(SystemExit, match="no card has all sections"):
        run(monkeypatch, compare, mine)
    assert "left out mine: the card has no training, evaluation" in capsys.readouterr().out
    run(monkeypatch, compare, mine, COMMITTED)
    text = (tmp_path / "docs" / "models.md").read_text()
    assert f"## {COMMITTED.name}\n" in text
    assert "mine" not in text
    for path in compare.SUMMARIES:
        figures = (tmp_path / path).read_text()
        assert figures.startswith("before <!-- models -->\n| model |")
        assert f"| `{COMMITTED.name}` | 8 |" in figures
        assert figures.endswith("<!-- /models --> after")
