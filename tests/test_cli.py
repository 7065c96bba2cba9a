"""The operator's commands."""

import json

import pytest

from app import create_app
from app.settings import Settings
from tests.conftest import card_document
from tests.graphs import write_graph


@pytest.fixture
def app(tmp_path):
    return create_app(
        Settings(
            database_url=f"sqlite:///{tmp_path / 'a.db'}",
            models_dir=tmp_path / "models",
            model="mine",
        )
    )


def test_a_model_is_installed_listed_and_offered(app, tmp_path):
    weights = write_graph(tmp_path / "some.onnx")
    (tmp_path / "card.json").write_text(json.dumps(card_document("mine") | {"weights": {}}))
    run = app.test_cli_runner()
    arguments = ["models", "install", str(weights), "--card", str(tmp_path / "card.json")]
    done = run.invoke(args=arguments)
    assert done.exit_code == 0, done.output
    assert done.output.startswith("installed mine 0.1, sha256 ")
    (listed,) = app.test_client().get("/v1/models").json["models"]
    assert listed["ready"]
    assert listed["name"] == "mine"
    (tmp_path / "models" / "broken").mkdir()
    (tmp_path / "models" / "broken" / "card.json").write_text("{}")
    lines = run.invoke(args=["models", "list"]).output.splitlines()
    assert lines[0].startswith("broken\tbroken: the card is not valid")
    assert lines[1] == "mine\tready, classifier, 8 emotions, the default"
    again = run.invoke(args=arguments)
    assert again.exit_code == 1
    assert again.output == ("Error: there is a model 'mine' already; remove its folder first\n")
