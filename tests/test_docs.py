"""The documentation is consistent with the code: settings, endpoints, errors, paths and links."""

import dataclasses
import re
import tomllib

import pytest

from app.api.problems import STATUS
from app.settings import ROOT, Settings
from app.vision.detectors import DETECTORS
from app.vision.mood import AGGREGATORS
from app.vision.pipelines import PIPELINES

DOCS = ROOT / "docs"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *DOCS.rglob("*.md"),
        ROOT / "client/README.md",
        ROOT / "examples/README.md",
    ]
)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(#[^)\s]*)?\)")
MAX_README_LINES = 160
NOT_IN_API_PAGE = {"/openapi.json"}


def read(name):
    return (ROOT / name).read_text("utf-8")


def without_code(text):
    """Return the text without its code blocks, which may contain brackets and # signs."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)


def anchors(page):
    """Return the anchors that GitHub and GitLab create for the headings of a page."""
    found = set()
    for heading in HEADING.findall(without_code(page.read_text("utf-8"))):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        found.add("#" + re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-"))
    return found


def broken_links(page):
    for name, anchor in LINK.findall(without_code(page.read_text("utf-8"))):
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            yield name
        elif anchor and anchor not in anchors(target):
            yield name + anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_has_an_existing_target(page):
    assert list(broken_links(page)) == []


def test_check_finds_broken_links(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One, two & 3\n[a](#one-two--3) [b](#four) [c](none.md) [d](page.md#one-two--3)\n"
        "```\n[e](none.md)\n# four\n```\n"
    )
    assert list(broken_links(page)) == ["#four", "none.md"]


def test_every_page_is_linked_from_the_readme():
    linked = {ROOT / name for name, _ in LINK.findall(read("README.md"))}
    assert {page for page in PAGES if page.name != "README.md"} <= linked


def test_readme_is_short():
    assert len(read("README.md").splitlines()) <= MAX_README_LINES


def test_every_setting_is_documented_with_its_default():
    rows = re.findall(
        r"^\| `([A-Z_]+)` \| `([^`]*)` \|", read("docs/configuration.md"), re.MULTILINE
    )
    documented = dict(rows)
    assert len(documented) == len(rows)
    assert documented == {
        field.metadata["env"]: str(field.default).replace(f"{ROOT}/", "")
        for field in dataclasses.fields(Settings)
    }


def test_the_help_of_every_setting_is_its_description_in_the_docs():
    text = read("docs/configuration.md")
    for field in dataclasses.fields(Settings):
        (description,) = re.findall(
            rf"^\| `{field.metadata['env']}` \| `[^`]*` \| (.*) \|$", text, re.MULTILINE
        )
        # The description may end with a link to the page that says more.
        without_link = re.sub(r" \(\[[^]]*\]\([^)]*\)\)$", "", description)
        assert field.metadata["help"] == without_link


def test_every_variable_in_the_docs_is_a_setting():
    settings = {field.metadata["env"] for field in dataclasses.fields(Settings)}
    # Examples: a variable of Kubernetes and a mistake.
    settings |= {"EMOTION_DB_PORT", "EMOTION_PORT"}
    for page in PAGES:
        named = set(re.findall(r"\bEMOTION_[A-Z_]*[A-Z]\b", page.read_text("utf-8")))
        assert named <= settings, page


def test_every_status_of_a_problem_is_documented():
    documented = {
        int(code)
        for row in re.findall(r"^\| ([\d ·]+) \|", read("docs/errors.md"), re.MULTILINE)
        for code in re.findall(r"\d{3}", row)
    }
    assert documented >= {*STATUS.values(), 405, 406}


def test_every_operation_is_documented(client):
    documented = set(re.findall(r"`((?:GET|POST|DELETE) /[^`?]*)`", read("docs/api.md")))
    operations = {
        f"{method.upper()} {path}"
        for path, methods in client.get("/openapi.json").json["paths"].items()
        for method in methods.keys() & {"get", "post", "delete"}
    }
    assert operations - documented == set()
    assert {each for each in documented if "{" in each} <= operations


@pytest.mark.parametrize(
    ("page", "heading", "names"),
    [
        ("group-mood.md", "Aggregators", AGGREGATORS),
        ("face-detection.md", "Detectors", DETECTORS),
    ],
)
def test_every_choice_of_an_option_is_documented(page, heading, names):
    _, _, section = read(f"docs/{page}").partition(f"\n## {heading}\n")
    section = section.partition("\n## ")[0]
    cells = re.findall(r"^\| ([^|]*) \|", section, re.MULTILINE)
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == set(names)


@pytest.mark.parametrize("name", ["models", "threshold", "detectors", "single_shot", "mood"])
def test_accuracy_page_has_the_block_of_every_evaluation(name):
    """An evaluation command replaces its block and skips a page without it."""
    text = read("docs/accuracy.md")
    assert len(re.findall(rf"<!-- {name} -->[^<]*\n\| [^<]*<!-- /{name} -->", text)) == 1


def test_every_pipeline_is_documented():
    assert all(f"`{name}`" in read("docs/face-detection.md") for name in PIPELINES)


def test_commands_of_make_and_of_the_docs_are_equal():
    commands = set(re.findall(r"^([a-z-]+):.*## ", read("Makefile"), re.MULTILINE))
    documented = set(re.findall(r"\bmake ([a-z-]+)", read("CONTRIBUTING.md")))
    assert commands == documented
    for page in PAGES:
        if page.name != "CHANGELOG.md":
            named = re.findall(r"(?:`|^ {4})make ([a-z-]+)", page.read_text("utf-8"), re.MULTILINE)
            assert set(named) <= commands, page


@pytest.mark.parametrize("page", ["docs/architecture.md", "docs/extending.md", "CONTRIBUTING.md"])
def test_paths_and_names_in_the_pages_for_contributors_exist(page):
    text = read(page)
    folders = "app|attacks|benchmarks|client|docker|evaluation|fuzzing|migrations"
    folders += "|testbed|tests|training"
    paths = re.findall(rf"`((?:{folders})/[\w./-]*)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    for name, path in re.findall(r"`(\w+)` in `([\w./-]+\.\w+)`", text):
        assert re.search(rf"\b{name}\b", read(path)), f"{name} in {path}"


def test_architecture_page_names_every_module_of_the_service():
    text = read("docs/architecture.md")
    modules = {
        f"app/{path.name}" + ("/" if path.is_dir() else "")
        for path in (ROOT / "app").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert {name for name in modules if f"`{name}`" not in text} == set()


def test_layers_on_the_architecture_page_are_those_of_the_import_contract():
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each.get("containers") == ["app"])
    _, _, section = read("docs/architecture.md").partition("\n## Layers\n")
    rows = re.findall(r"^\| .* \| (`.*`) \|$", section.partition("\n## ")[0], re.MULTILINE)
    documented = [set(re.findall(r"`app/(\w+)(?:/|\.py)`", row)) for row in rows]
    assert documented == [set(layer.split(" | ")) for layer in layers]
