"""Guards for what people forget."""

import ast
import json
import re
import subprocess
import sys

import pytest
from importlinter.cli import lint_imports

from app.settings import ROOT
from app.vision.card import read_weights
from app.vision.classifier import ClassifierCard
from app.vision.kinds import model_folders
from app.vision.single_shot import SingleShotCard
from evaluation.compare import FIGURES
from tests.conftest import need

MODELS = model_folders(ROOT / "models")
NOT_IN_OPENAPI = {
    "/",
    "/assets/<path:file_name>",
    "/openapi.json",
    "/docs",
    "/docs/start.js",
    "/docs/assets/<path:file_name>",
}


def test_every_route_is_in_the_openapi_document(app, client):
    documented = set(client.get("/openapi.json").json["paths"])
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^:>]+:)?(\w+)>", r"{\1}", rule.rule)
        assert (path in documented) != (rule.rule in NOT_IN_OPENAPI), rule.rule


def test_every_operation_is_described(client):
    for path, operations in client.get("/openapi.json").json["paths"].items():
        for method in operations.keys() & {"get", "post", "delete"}:
            assert operations[method].get("summary"), f"{method} {path}"
            assert "default" in operations[method]["responses"], f"{method} {path}"


def test_there_is_a_model():
    assert MODELS


@pytest.mark.parametrize("folder", MODELS, ids=lambda path: path.name)
def test_every_card_is_valid_and_fits_its_weights(folder):
    card = ClassifierCard.read(folder)
    weights = read_weights(folder, card)
    document = json.loads((folder / "card.json").read_text())
    assert document["weights"]["bytes"] == len(weights)
    for said in ("licence", "intended_use", "out_of_scope", "limits", *FIGURES):
        assert document[said], f"the card says nothing of {said}"
    for protocol in document["evaluation"]["protocols"].values():
        assert protocol["pictures"] > 0
        assert protocol["recall"].keys() == set(card.labels)


def test_the_one_pass_card_is_valid_and_fits_its_weights():
    folder = ROOT / "models" / "single_shot"
    card = SingleShotCard.read(folder)
    weights = read_weights(folder, card)
    document = card.document
    assert document["weights"]["bytes"] == len(weights) < 4_000_000
    for said in ("licence", "intended_use", "out_of_scope", "limits", "training", "evaluation"):
        assert document[said], f"the card says nothing of {said}"
    assert document["evaluation"]["photographs"] > 200
    assert document["evaluation"]["portraits"] > 700


def test_importing_the_application_imports_neither_flask_nor_a_model():
    heavy = {"flask", "torch", "cv2", "onnxruntime", "sqlalchemy"}
    code = f"import app, sys; print({heavy!r} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "set()\n"


def test_creating_the_application_loads_no_model(make_app, models_dir):
    for weights in models_dir.glob("*/model.onnx"):
        weights.unlink()
    assert make_app().extensions["engine"].problem == "the model is not loaded yet"


def test_the_walls_stand(monkeypatch):
    # It would disable the loggers that exist, whose records later tests look for.
    monkeypatch.setattr("importlinter.cli._configure_logging", lambda _: None)
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), is_debug_mode=False) == 0


@pytest.mark.parametrize("package", ["training", "evaluation"])
def test_training_and_evaluation_import_only_vision_of_the_service(package):
    """… and app.errors, which vision raises and a command has to put into a sentence."""
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                allowed = name in ("app.errors", "app.vision") or name.startswith("app.vision.")
                assert name.split(".")[0] != "app" or allowed, path


OUR_PACKAGES = (
    *("app", "attacks", "benchmarks", "emotions", "evaluation", "fuzzing", "testbed", "tests"),
    "training",
)
PRIVATE = re.compile(r"_[a-z]\w*")
PRIVATE_PATH = re.compile(rf"({'|'.join(OUR_PACKAGES)})(\.\w+)*\._[a-z]\w*")


def private_names(tree):
    """The private functions and constants of our modules that a program uses."""
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OUR_PACKAGES:
            imported |= {alias.asname or alias.name: node for alias in node.names}
    yield from (name for name in imported if PRIVATE.fullmatch(name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            # A class is used by its public methods, a module by its public functions.
            is_module = node.value.id in imported and node.value.id.islower()
            if is_module and PRIVATE.fullmatch(node.attr):
                yield node.attr
        elif isinstance(node, ast.Constant) and PRIVATE_PATH.fullmatch(str(node.value)):
            yield node.value


def test_tests_use_what_is_public():
    for path in (ROOT / "tests").rglob("*.py"):
        assert list(private_names(ast.parse(path.read_text("utf-8")))) == [], path


def test_what_is_private_is_found():
    program = """
from app.vision import cascade
from attacks.storage import _settled
cascade._corners()
patch("emotions.connection._is_loopback")
cascade.__name__
"""
    found = list(private_names(ast.parse(program)))
    assert sorted(found) == [
        "_corners",
        "_settled",
        ".".join(["emotions.connection", "_is_loopback"]),
    ]


def test_only_the_settings_read_the_environment():
    reading = re.compile(r"os\.environ|getenv")
    readers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "app").rglob("*.py")
        if reading.search(path.read_text("utf-8"))
    }
    assert readers == {"app/__init__.py"}  # hands it to Settings.from_environment


def test_no_research_data_is_committed():
    need((ROOT / ".git").exists(), "not a git checkout")
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    pictures = re.compile(r"\.(jpe?g|png|gif|bmp|tiff?|webp|zip|csv|npz|pt)$", re.IGNORECASE)
    ours = re.compile(
        r"docs/|(models|training/teachers)/\w+/(log\.csv|(curve|confusion|reliability)\.png)"
        r"|tests/vision/golden/draw-[\w-]+\.png"  # of coloured squares, by test_draw.py
    )
    assert [name for name in files if pictures.search(name) and not ours.match(name)] == []
