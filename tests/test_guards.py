"""Rules for the repository that are easy to break."""

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
from tests.conftest import require

MODELS = model_folders(ROOT / "models")
NOT_IN_OPENAPI = {
    "/",
    "/assets/<path:file_name>",
    "/openapi.json",
    "/docs",
    "/docs/start.js",
    "/docs/assets/<path:file_name>",
}


def test_openapi_document_has_every_route(app, client):
    documented = set(client.get("/openapi.json").json["paths"])
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^:>]+:)?(\w+)>", r"{\1}", rule.rule)
        assert (path in documented) != (rule.rule in NOT_IN_OPENAPI), rule.rule


def test_operations_have_summary_and_default_response(client):
    for path, operations in client.get("/openapi.json").json["paths"].items():
        for method in operations.keys() & {"get", "post", "delete"}:
            assert operations[method].get("summary"), f"{method} {path}"
            assert "default" in operations[method]["responses"], f"{method} {path}"


def test_repository_has_models():
    assert MODELS


@pytest.mark.parametrize("folder", MODELS, ids=lambda path: path.name)
def test_card_is_valid_and_matches_weights(folder):
    card = ClassifierCard.read(folder)
    weights = read_weights(folder, card)
    document = json.loads((folder / "card.json").read_text())
    assert document["weights"]["bytes"] == len(weights)
    for section in ("licence", "intended_use", "out_of_scope", "limits", *FIGURES):
        assert document[section], f"the card has no {section}"
    for protocol in document["evaluation"]["protocols"].values():
        assert protocol["pictures"] > 0
        assert protocol["recall"].keys() == set(card.labels)


def test_single_shot_card_is_valid_and_matches_weights():
    folder = ROOT / "models" / "single_shot"
    card = SingleShotCard.read(folder)
    weights = read_weights(folder, card)
    document = card.document
    assert document["weights"]["bytes"] == len(weights) < 4_000_000
    for section in ("licence", "intended_use", "out_of_scope", "limits", "training", "evaluation"):
        assert document[section], f"the card has no {section}"
    assert document["evaluation"]["photographs"] > 200
    assert document["evaluation"]["portrait_readings"]["portraits"] > 400


def test_importing_app_imports_no_heavy_library():
    heavy = {"flask", "torch", "cv2", "onnxruntime", "sqlalchemy"}
    code = f"import app, sys; print({heavy!r} & set(sys.modules))"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert process.stdout == "set()\n"


def test_create_app_loads_no_model(make_app, models_dir):
    for weights in models_dir.glob("*/model.onnx"):
        weights.unlink()
    assert make_app().extensions["engine"].problem == "the model is not loaded yet"


def test_import_contracts_are_kept(monkeypatch):
    # The logging configuration of import-linter disables existing loggers that other tests need.
    monkeypatch.setattr("importlinter.cli._configure_logging", lambda _: None)
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), is_debug_mode=False) == 0


@pytest.mark.parametrize("package", ["training", "evaluation"])
def test_training_and_evaluation_import_only_vision_and_errors(package):
    """The commands catch the errors of app.errors that vision raises."""
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
    """The private functions and constants of OUR_PACKAGES that a program uses."""
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OUR_PACKAGES:
            imported |= {alias.asname or alias.name: node for alias in node.names}
    yield from (name for name in imported if PRIVATE.fullmatch(name))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            # Private attributes of modules are found, those of classes are not.
            is_module = node.value.id in imported and node.value.id.islower()
            if is_module and PRIVATE.fullmatch(node.attr):
                yield node.attr
        elif isinstance(node, ast.Constant) and PRIVATE_PATH.fullmatch(str(node.value)):
            yield node.value


def test_tests_use_no_private_names():
    for path in (ROOT / "tests").rglob("*.py"):
        assert list(private_names(ast.parse(path.read_text("utf-8")))) == [], path


def test_private_names_are_found():
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


def test_only_app_reads_the_environment():
    reading = re.compile(r"os\.environ|getenv")
    readers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "app").rglob("*.py")
        if reading.search(path.read_text("utf-8"))
    }
    assert readers == {"app/__init__.py"}  # passes it to Settings.from_environment


def tracked_files(*options):
    require((ROOT / ".git").exists(), "not a git checkout")
    return subprocess.run(
        ["git", "ls-files", *options], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()


def test_repository_has_no_ignored_files_and_no_links():
    """A link such as .venv points to a path of one machine, so `make serve` fails on others."""
    assert tracked_files("--cached", "--ignored", "--exclude-standard") == []
    assert [entry for entry in tracked_files("--stage") if entry.startswith("120000")] == []


def test_repository_has_no_research_data():
    files = tracked_files()
    data_files = re.compile(r"\.(jpe?g|png|gif|bmp|tiff?|webp|zip|csv|npz|pt)$", re.IGNORECASE)
    allowed = re.compile(
        r"docs/|(models|training/teachers)/\w+/(log\.csv|(curve|confusion|reliability)\.png)"
        r"|tests/vision/golden/draw-[\w-]+\.png"  # coloured squares, written by test_draw.py
    )
    assert [name for name in files if data_files.search(name) and not allowed.match(name)] == []


def test_onnx_files_contain_no_paths_and_no_stack_traces():
    """The exporter of PyTorch writes them; training.onnx_files removes them."""
    trace = re.compile(rb'stack_trace|site-packages|File "|/\w+\.py\b|/(home|root|tmp|usr|opt)/')
    paths = [ROOT / name for name in tracked_files() if name.endswith(".onnx")]
    assert len(paths) > len(MODELS)
    assert [path for path in paths if trace.search(path.read_bytes())] == []


MAX_LINES = 300
MAX_TEST_LINES = 400
# Files that exceed MAX_LINES or MAX_TEST_LINES, with the number of lines that each may have. Split
# such a file instead of adding lines to it, and do not add files to this table.
LONGER_FILES = {}


def test_files_of_code_are_short():
    code = re.compile(r".*\.(py|js|css|html)")
    lines = {
        name: len((ROOT / name).read_text("utf-8").splitlines())
        for name in tracked_files()
        if code.fullmatch(name) and (ROOT / name).exists()
    }
    longer = {
        name: count
        for name, count in lines.items()
        if count > (MAX_TEST_LINES if name.startswith("tests/") else MAX_LINES)
    }
    assert longer.keys() == LONGER_FILES.keys()
    assert {name for name, count in longer.items() if count > LONGER_FILES[name]} == set()
