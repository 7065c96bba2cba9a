"""The commands on what they cannot use: one clear sentence, no traceback."""

import sys

import pytest

from app.settings import ROOT
from evaluation import accuracy, compare, field, speed
from tests.conftest import write_model
from tests.graphs import write_graph_model

OURS = ROOT / "models" / "custom_net_8"


def run(monkeypatch, module, *arguments):
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    module.main()


@pytest.mark.parametrize("module", [accuracy, compare, field, speed])
def test_a_folder_without_a_model_is_named(monkeypatch, tmp_path, module):
    with pytest.raises(
        SystemExit, match=r"^error: model .nothing. has no readable card\.json: No such"
    ):
        run(monkeypatch, module, tmp_path / "nothing")


@pytest.mark.parametrize("module", [accuracy, field])
def test_data_that_is_not_there_is_named(monkeypatch, tmp_path, module):
    folder = write_graph_model(tmp_path / "mine")
    with pytest.raises(SystemExit, match=r"^error: .*nowhere"):
        run(monkeypatch, module, folder, "--data", tmp_path / "nowhere")


def test_a_model_without_figures_is_left_out_of_the_page(monkeypatch, tmp_path, capsys):
    (tmp_path / "docs").mkdir()
    for path in compare.SUMMARIES:
        (tmp_path / path).write_text("all <!-- models -->old<!-- /models --> ours")
    monkeypatch.chdir(tmp_path)
    mine = write_model(tmp_path / "models", "mine")
    with pytest.raises(SystemExit, match="no card has all the figures"):
        run(monkeypatch, compare, mine)
    assert "left out mine: its card has no training, evaluation" in capsys.readouterr().out
    run(monkeypatch, compare, mine, OURS)
    text = (tmp_path / "docs" / "models.md").read_text()
    assert f"## {OURS.name}\n" in text
    assert "mine" not in text
    for path in compare.SUMMARIES:
        figures = (tmp_path / path).read_text()
        assert figures.startswith("all <!-- models -->\n| model |")
        assert f"| `{OURS.name}` | 8 |" in figures
        assert figures.endswith("<!-- /models --> ours")
