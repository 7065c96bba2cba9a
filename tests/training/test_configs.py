"""The committed configurations match the committed models."""

import importlib.util
import json
import tomllib
from dataclasses import asdict

import pytest

from tests.conftest import require

pytestmark = pytest.mark.torch

require(importlib.util.find_spec("torch"), "torch is not installed (make train-env)")


from app.settings import ROOT
from training.config import Config, read_config

CONFIGS = sorted((ROOT / "training" / "configs").glob("*.toml"))
STARTS = {read_config(path).start for path in CONFIGS}
TEACHERS = {name for path in CONFIGS for name in read_config(path).teacher_runs}
NEEDED = STARTS | TEACHERS  # configs without an export


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_committed_configs_match_the_committed_cards(path):
    config = read_config(path)
    assert config.name == path.stem
    folders = tomllib.loads(path.read_text()).get("export", {})
    assert folders or config.name in NEEDED
    for folder in folders:
        card = json.loads((ROOT / folder / "card.json").read_text())
        # Settings that are missing in a card were added after the training and had the default.
        trained = Config(**card["training"]["settings"])
        assert json.dumps(asdict(trained)) == json.dumps(asdict(config))
        variant = tomllib.loads(path.read_text()).get("folders", {}).get(folder, {})
        assert len(card["labels"]) == variant.get("classes", config.classes)
