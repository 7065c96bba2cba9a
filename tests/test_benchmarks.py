"""The benchmarks run end to end and print their tables. Times are not checked."""

import re
import sys

import pytest

from app.settings import ROOT
from app.store import planning
from benchmarks import growth, growth_stores, service, soak

pytestmark = pytest.mark.waits

CELL = re.compile(r"^[\d.]+$")


def run(monkeypatch, module, *arguments):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    module.main()


def rows(text):
    """The cells of the rows of a table, without the head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.weights
def test_service_benchmark_prints_all_figures(monkeypatch, capsys, shared):
    small = ["--seconds", "0.1", "--rounds", "1", "--megapixels", "0.3", "--concurrency", "2", "8"]
    run(monkeypatch, service, "--data", str(shared), *small)
    text = capsys.readouterr().out
    measured = rows(text)
    assert [row[:2] for row in measured] == [
        [images, concurrency]
        for images in ("0.3 megapixels", "examples")
        for concurrency in ("2", "8")
    ]
    assert all(CELL.match(cell) for row in measured for cell in row[1:-1])
    assert [bool(row[-1]) for row in measured] == [False, True, False, True]
    assert "Resident memory of each worker in MB" in text


def test_send_raises_for_a_response_other_than_201(monkeypatch, tmp_path):
    with (
        service.service(tmp_path) as running,
        pytest.raises(RuntimeError, match=r"^415: .*unsupported-image-type"),
    ):
        service.send(running, [b"no image"], concurrency=2, seconds=0.1)


def check_growth(monkeypatch, capsys, database, *options):
    run(monkeypatch, growth, "--images", "40", "80", "--times", "1", *options)
    text = capsys.readouterr().out
    part = text[text.index(f"| {database} | 40 | 80 |") :]
    measured = rows(part)[: len(growth.queries(80, total=80))]
    assert [row[0] for row in measured] == list(growth.queries(80, total=80))
    assert all(CELL.match(row[-1]) for row in measured)
    assert re.search(r"^    - .*\bscan\b.* images\b", part, re.MULTILINE | re.IGNORECASE)


def test_growth_prints_times_and_plans_on_sqlite(monkeypatch, capsys):
    check_growth(monkeypatch, capsys, "sqlite")


@pytest.mark.parametrize("few", [0, planning.FEW])
def test_queries_do_not_scan_tables(tmp_path, monkeypatch, few):
    """Except for an index scan in page order, which ends when the page is full."""
    monkeypatch.setattr(planning, "FEW", few)
    with growth_stores.stores([40], [f"sqlite:///{tmp_path / 'growth.db'}"]) as apps:
        plans = {
            name: growth.explain(apps[40], query)
            for name, query in growth.queries(40, total=40).items()
        }
    scans = re.compile(
        r"\bSCAN (images|faces|emotions|persons|categories)\b(?!.*ix_images_created_at_id)"
    )
    assert all(plans.values())
    assert [
        (name, line) for name, plan in plans.items() for line in plan if scans.search(line)
    ] == []


@pytest.mark.postgres
def test_growth_prints_times_and_plans_on_postgresql(monkeypatch, capsys, postgres_url):
    check_growth(monkeypatch, capsys, "postgresql", "--postgres", postgres_url)


def test_performance_page_has_the_columns_and_queries_of_the_benchmarks():
    page = (ROOT / "docs" / "performance.md").read_text("utf-8")
    assert f"| {' | '.join(service.HEAD)} |" in page
    assert f"| images | {soak.COLUMN.format(1)} | {soak.COLUMN.format(2)} |" in page
    part = page[page.index("## Reading as the store grows") :]
    named = [row[0] for row in rows(part) if row[0] not in ("query", "---")]
    assert len(named) > 80
    assert set(named) <= set(growth.queries(80, total=80))
